import { permanent, type TpmEntity, type TpmSequence } from "../client.ts";
import { commandCode, handle, nvAttribute } from "../constants.ts";
import { TpmError } from "../errors.ts";
import { digest, hashNumber } from "../hash.ts";
import { TpmWriter } from "../marshal.ts";
import type { SessionUse } from "../session.ts";
import { undefineNv } from "./nv.ts";
import type { TpmObject } from "./objects.ts";
import { startSession } from "./sessions.ts";

/** Where the message lies: in the range that the TCG leaves to the owner, and gone after each request. */
const MESSAGE_INDEX = 0x01800a18;
/** An answer has 5 KiB of certificates and what was asked for. */
const MESSAGE_BYTES = 8192;
const NAME_HASH = "sha512";
const CHUNK = 512;
const NOTHING = new Uint8Array();

/** TPMA_NV of the message, before and after it was written first. */
const ATTRIBUTES = nvAttribute.authRead | nvAttribute.authWrite;

/**
 * Hands a request to the Nitro hypervisor's security module, and gives its answer, with filling behind it. The message goes by an NV
 * index that TPM2_VENDOR_AWS_NSM_REQUEST names: the hypervisor takes the request from there and puts the answer in its place. After AWS's
 * NitroTPM-Tools (nitro-tpm-attest 1.0.2), which alone describes it: an index of 8 KiB, named by SHA-512, with an authorization value, and
 * a session by SHA-512 that is salted by the endorsement key. @throws TpmError on a TPM that is no NitroTPM
 */
export async function nsmRequest(tpm: TpmSequence, saltKey: TpmObject, request: Uint8Array): Promise<Buffer> {
  if (request.length > MESSAGE_BYTES) throw new RangeError("the request is longer than what a message holds");
  const session = await startSession(tpm, "hmac", saltKey, NAME_HASH);
  const authValue = authorizationValue(tpm);
  const use = { session, authValue };
  await forget(tpm);
  try {
    await define(tpm, use);
    await write(tpm, use, request);
    const message = messageIndex("written");
    await tpm.execute({ code: commandCode.awsNsmRequest, entities: [message, message], authorizations: [use] });
    return await read(tpm, use);
  } finally {
    authValue.fill(0);
    await forget(tpm);
  }
}

/** A TPM takes zeros at the end of one for filling (Part 1, section 19.6.4.3), and would compute with a shorter one. */
function authorizationValue(tpm: TpmSequence): Buffer {
  const value = Buffer.from(tpm.random(64));
  value[value.length - 1] = (value.at(-1) ?? 0) | 1;
  return value;
}

/** TPM2_NV_DefineSpace. The authorization value goes encrypted. */
async function define(tpm: TpmSequence, { session, authValue }: Use): Promise<void> {
  const parameters = new TpmWriter().sized(authValue).sized(publicArea("new")).done();
  try {
    await tpm.execute({
      code: commandCode.nvDefineSpace,
      entities: [permanent(handle.owner)],
      authorizations: [{ session, encryptCommand: true }],
      parameters,
    });
  } finally {
    parameters.fill(0);
  }
}

type Use = Required<Pick<SessionUse, "session" | "authValue">>;

async function write(tpm: TpmSequence, use: Use, request: Uint8Array): Promise<void> {
  for (let at = 0; at < request.length; at += CHUNK) {
    const message = messageIndex(at === 0 ? "new" : "written");
    await tpm.execute({
      code: commandCode.nvWrite,
      entities: [message, message],
      authorizations: [{ ...use, encryptCommand: true }],
      parameters: new TpmWriter()
        .sized(request.subarray(at, at + CHUNK))
        .u16(at)
        .done(),
    });
  }
}

async function read(tpm: TpmSequence, use: Use): Promise<Buffer> {
  const message = messageIndex("written");
  const parts: Buffer[] = [];
  for (let at = 0; at < MESSAGE_BYTES; at += CHUNK) {
    const { parameters } = await tpm.execute({
      code: commandCode.nvRead,
      entities: [message, message],
      authorizations: [{ ...use, encryptAnswer: true }],
      parameters: new TpmWriter().u16(CHUNK).u16(at).done(),
    });
    const part = parameters.sized(CHUNK);
    parameters.end();
    if (part.length !== CHUNK) throw parameters.wrong("is shorter than what was asked for");
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Takes the message out, also one that a request left that was interrupted. */
async function forget(tpm: TpmSequence): Promise<void> {
  try {
    await undefineNv(tpm, MESSAGE_INDEX);
  } catch (error) {
    if (!(error instanceof TpmError && error.is("handle"))) throw error;
  }
}

/** Its name is known without asking: who answers for it has to know it as well. */
function messageIndex(state: "new" | "written"): TpmEntity {
  const name = new TpmWriter()
    .u16(hashNumber(NAME_HASH))
    .bytes(digest(NAME_HASH, publicArea(state)))
    .done();
  return { handle: MESSAGE_INDEX, name };
}

/** TPMS_NV_PUBLIC (Part 2, section 13.5). */
function publicArea(state: "new" | "written"): Buffer {
  return new TpmWriter()
    .u32(MESSAGE_INDEX)
    .u16(hashNumber(NAME_HASH))
    .u32(state === "new" ? ATTRIBUTES : ATTRIBUTES | nvAttribute.written)
    .sized(NOTHING)
    .u16(MESSAGE_BYTES)
    .done();
}
