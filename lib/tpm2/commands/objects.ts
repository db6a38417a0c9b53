import { algorithm, commandCode, EK_RSA_HANDLE, handle, structureTag } from "../constants.ts";
import { type Creation, creationHash } from "../creation.ts";
import { permanent, type TpmEntity, type TpmSequence } from "../client.ts";
import { TpmChannelError, TpmError } from "../errors.ts";
import { type TpmReader, TpmWriter } from "../marshal.ts";
import { pcrSelection } from "../pcr.ts";
import { marshalPublic, nameOf, parsePublic, type TpmPublic } from "../public-area.ts";
import type { TpmSession } from "../session.ts";
import { endorsementKey as endorsementTemplate, storageRootKey } from "../templates.ts";

/** An object in the TPM. */
export interface TpmObject extends TpmEntity {
  public: TpmPublic;
}

/** An object outside the TPM, its private part encrypted by the parent: of no use in another TPM, and no secret. */
export interface WrappedObject {
  private: Uint8Array;
  public: Uint8Array;
}

const NOTHING = new Uint8Array();
const MAX_PUBLIC = 1024;
const MAX_PRIVATE = 1024;
const MAX_SEALED = 128;
const MAX_CREATION = 512;

/** TPM2_CreatePrimary: the same template gives the same key at every boot. */
export async function createPrimary(
  tpm: TpmSequence,
  hierarchy: "owner" | "endorsement",
  template: TpmPublic,
): Promise<TpmObject> {
  const answer = await tpm.execute({
    code: commandCode.createPrimary,
    entities: [permanent(handle[hierarchy])],
    authorizations: ["empty-password"],
    parameters: new TpmWriter().sized(sensitive(NOTHING)).sized(marshalPublic(template)).sized(NOTHING).u32(0).done(),
    makesHandle: true,
  });
  return objectAt(answer.handle, answer.parameters.sized(MAX_PUBLIC));
}

/**
 * The storage root key: parent of what is wrapped, and what sessions are salted with. A connection on which it becomes another one is
 * not with one TPM alone: who shows a key of his own reads what is encrypted to it. @throws TpmChannelError
 */
export async function storageRoot(tpm: TpmSequence): Promise<TpmObject> {
  const root = await createPrimary(tpm, "owner", storageRootKey);
  tpm.seen.storageRoot ??= root.name;
  if (!Buffer.from(root.name).equals(tpm.seen.storageRoot)) {
    throw new TpmChannelError(
      "the TPM shows another storage root key than before: something in between answers for it",
    );
  }
  return root;
}

/** The endorsement key where it usually is, or made anew: TPM2_Clear takes it away from there. */
export async function endorsementKey(tpm: TpmSequence): Promise<TpmObject> {
  try {
    return await readPublic(tpm, EK_RSA_HANDLE);
  } catch (error) {
    if (!(error instanceof TpmError && error.is("handle"))) throw error;
    return createPrimary(tpm, "endorsement", endorsementTemplate);
  }
}

/**
 * TPM2_Create under a parent. `data` is sealed, or the key itself where the template says so; it goes to the TPM encrypted. What the TPM
 * says of its making is over the values that `creationPcrs` have now.
 */
export async function create(
  tpm: TpmSequence,
  parent: TpmObject,
  template: TpmPublic,
  data: Uint8Array,
  session: TpmSession,
  creationPcrs: readonly number[] = [],
): Promise<WrappedObject & { creation: Creation }> {
  const inner = sensitive(data);
  const selection = creationPcrs.length === 0 ? new TpmWriter().u32(0).done() : pcrSelection(creationPcrs);
  const area = marshalPublic(template);
  const parameters = new TpmWriter().sized(inner).sized(area).sized(NOTHING).bytes(selection).done();
  try {
    const answer = await tpm.execute({
      code: commandCode.create,
      entities: [parent],
      authorizations: [{ session, encryptCommand: true }],
      parameters,
    });
    const { parameters: made } = answer;
    const object = { private: made.sized(MAX_PRIVATE), public: made.sized(MAX_PUBLIC) };
    const creationData = made.sized(MAX_CREATION);
    made.sized(64); // its hash, which whoever checks the ticket makes anew
    return { ...object, creation: { data: creationData, ticket: creationTicket(made) } };
  } finally {
    inner.fill(0);
    parameters.fill(0);
  }
}

/**
 * TPM2_CertifyCreation without a signature: whether this TPM made the object, and said this of its making.
 * @throws TpmError `ticket` where it did not
 */
export async function certifyCreation(tpm: TpmSequence, object: TpmObject, { data, ticket }: Creation): Promise<void> {
  await tpm.execute({
    code: commandCode.certifyCreation,
    entities: [permanent(handle.null), object],
    authorizations: ["empty-password"],
    parameters: new TpmWriter()
      .sized(NOTHING)
      .sized(creationHash(data))
      .u16(algorithm.null)
      .u16(structureTag.creation)
      .u32(handle.owner)
      .sized(ticket)
      .done(),
  });
}

/** TPMT_TK_CREATION (Part 2, section 10.7.3). */
function creationTicket(reader: TpmReader): Buffer {
  const [tag, hierarchy] = [reader.u16(), reader.u32()];
  if (tag !== structureTag.creation || hierarchy !== handle.owner) throw reader.wrong("has no ticket of the owner's");
  return reader.sized(64);
}

/** TPM2_Load. @throws TpmError `integrity` for an object of another TPM or parent. */
export async function load(tpm: TpmSequence, parent: TpmObject, object: WrappedObject): Promise<TpmObject> {
  const answer = await tpm.execute({
    code: commandCode.load,
    entities: [parent],
    authorizations: ["empty-password"],
    parameters: new TpmWriter().sized(object.private).sized(object.public).done(),
    makesHandle: true,
  });
  return objectAt(answer.handle, object.public);
}

/** TPM2_LoadExternal of a public key, in the owner hierarchy, so that tickets about it are good there. */
export async function loadExternal(tpm: TpmSequence, area: TpmPublic): Promise<TpmObject> {
  const answer = await tpm.execute({
    code: commandCode.loadExternal,
    parameters: new TpmWriter().sized(NOTHING).sized(marshalPublic(area)).u32(handle.owner).done(),
    makesHandle: true,
  });
  return { handle: answer.handle, public: area, name: nameOf(area) };
}

/** TPM2_ReadPublic of an object that is there already, for example the endorsement key. */
export async function readPublic(tpm: TpmSequence, at: number): Promise<TpmObject> {
  const { parameters } = await tpm.execute({ code: commandCode.readPublic, entities: [permanent(at)] });
  return objectAt(at, parameters.sized(MAX_PUBLIC));
}

/** TPM2_Unseal under a session that satisfies the object's policy. The data comes encrypted; the caller zeroes it. */
export async function unseal(tpm: TpmSequence, object: TpmObject, session: TpmSession): Promise<Buffer> {
  const { parameters } = await tpm.execute({
    code: commandCode.unseal,
    entities: [object],
    authorizations: [{ session, encryptAnswer: true }],
  });
  const data = parameters.sized(MAX_SEALED);
  parameters.end();
  parameters.wipe();
  return data;
}

/** TPM2_HMAC by SHA-256: the data goes and the result comes encrypted. The caller zeroes it. */
export async function hmac(tpm: TpmSequence, key: TpmObject, data: Uint8Array, session: TpmSession): Promise<Buffer> {
  const { parameters } = await tpm.execute({
    code: commandCode.hmac,
    entities: [key],
    authorizations: [{ session, encryptCommand: true, encryptAnswer: true }],
    parameters: new TpmWriter().sized(data).u16(algorithm.sha256).done(),
  });
  const result = parameters.sized(32);
  parameters.end();
  parameters.wipe();
  return result;
}

/** TPMS_SENSITIVE_CREATE with an empty password. */
function sensitive(data: Uint8Array): Buffer {
  return new TpmWriter().sized(NOTHING).sized(data).done();
}

function objectAt(at: number, bytes: Uint8Array): TpmObject {
  const area = parsePublic(bytes);
  return { handle: at, public: area, name: nameOf(area) };
}
