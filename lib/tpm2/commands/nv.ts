import { commandCode, handle, nvAttribute } from "../constants.ts";
import { permanent, type TpmEntity, type TpmSequence } from "../client.ts";
import { TpmError } from "../errors.ts";
import { digest, hashNumber } from "../hash.ts";
import { TpmReader, TpmWriter } from "../marshal.ts";
import type { TpmSession } from "../session.ts";

/** What TPM2_NV_ReadPublic says of an index. */
export interface NvPublic {
  /** TPMA_NV, see `nvAttribute`. */
  attributes: number;
  size: number;
  /** Covers the index's number and attributes, and so tells an index from any other, and from itself before it was written. */
  name: Buffer;
}

const NOTHING = new Uint8Array();
const COUNTER_BYTES = 8;
/** What every TPM gives at once; most give 1024. */
const CHUNK = 512;
/** The largest index that is read here: an EK certificate, or Azure's HCL report. */
const MAX_NV = 8192;

/** `undefined` where the index is not defined. */
export async function readNvPublic(tpm: TpmSequence, index: number): Promise<NvPublic | undefined> {
  try {
    const { parameters } = await tpm.execute({ code: commandCode.nvReadPublic, entities: [permanent(index)] });
    const area = parameters.sized(256);
    return TpmReader.whole(area, "the NV index's public area", (reader) => {
      if (reader.u32() !== index) throw reader.wrong("is of another index");
      if (reader.u16() !== hashNumber("sha256")) throw reader.wrong("is named by another hash than SHA-256");
      const attributes = reader.u32();
      reader.sized(64);
      return { attributes, size: reader.u16(), name: nameOfArea(area) };
    });
  } catch (error) {
    if (error instanceof TpmError && error.is("handle")) return undefined;
    throw error;
  }
}

/** TPM2_NV_Read of all of an index that anyone may read; `undefined` where it is not defined. */
export async function readNv(tpm: TpmSequence, index: number): Promise<Buffer | undefined> {
  const area = await readNvPublic(tpm, index);
  if (area === undefined) return undefined;
  if (area.size > MAX_NV) throw new RangeError(`the NV index holds ${area.size} bytes, more than is ever read`);
  const authorizer = (area.attributes & nvAttribute.authRead) !== 0 ? index : handle.owner;
  const parts: Buffer[] = [];
  for (let at = 0; at < area.size; at += CHUNK) {
    const length = Math.min(CHUNK, area.size - at);
    const { parameters } = await tpm.execute({
      code: commandCode.nvRead,
      entities: [permanent(authorizer), permanent(index)],
      authorizations: ["empty-password"],
      parameters: new TpmWriter().u16(length).u16(at).done(),
    });
    const part = parameters.sized(length);
    parameters.end();
    if (part.length !== length) throw parameters.wrong("is shorter than what was asked for");
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** TPM2_NV_DefineSpace of a counter that anyone on this machine may read and increment, and nobody can lower. */
export async function defineCounter(tpm: TpmSequence, index: number): Promise<void> {
  await tpm.execute({
    code: commandCode.nvDefineSpace,
    entities: [permanent(handle.owner)],
    authorizations: ["empty-password"],
    parameters: new TpmWriter().sized(NOTHING).sized(counterArea(index)).done(),
  });
}

/**
 * The name of a counter as `defineCounter` makes it, once it was incremented. A policy that asks for this name (TPM2_PolicyNV) is met by
 * no index of another kind: whoever deletes the counter has to make a counter again, and that one starts above every value that any
 * counter of this TPM ever had (Part 3, TPM2_NV_Increment).
 */
export function counterName(index: number): Buffer {
  return nameOfArea(counterArea(index, nvAttribute.written));
}

/** TPMS_NV_PUBLIC (Part 2, section 13.5). */
function counterArea(index: number, more = 0): Buffer {
  const attributes =
    nvAttribute.authRead | nvAttribute.authWrite | nvAttribute.noDictionaryAttackProtection | nvAttribute.counter;
  return new TpmWriter()
    .u32(index)
    .u16(hashNumber("sha256"))
    .u32(attributes | more)
    .sized(NOTHING)
    .u16(COUNTER_BYTES)
    .done();
}

function nameOfArea(area: Uint8Array): Buffer {
  return new TpmWriter().u16(hashNumber("sha256")).bytes(digest("sha256", area)).done();
}

/** TPM2_NV_UndefineSpace, with the owner's empty password. */
export async function undefineNv(tpm: TpmSequence, index: number): Promise<void> {
  await tpm.execute({
    code: commandCode.nvUndefineSpace,
    entities: [permanent(handle.owner), permanent(index)],
    authorizations: ["empty-password"],
  });
}

/**
 * TPM2_NV_Increment in a session, so that it is known to have happened. The first one sets a counter to one more than any counter of
 * this TPM ever had.
 */
export async function incrementCounter(tpm: TpmSequence, index: number, session: TpmSession): Promise<void> {
  const area = await readNvPublic(tpm, index);
  if (area === undefined) throw notCounter(index);
  const entity = counterOf(index, area);
  await tpm.execute({ code: commandCode.nvIncrement, entities: [entity, entity], authorizations: [{ session }] });
}

/**
 * TPM2_NV_Read of a counter in a session, so that nothing in between can give an older value. `undefined` where the counter is not
 * defined, or was never incremented: that nobody vouches for.
 */
export async function readCounter(tpm: TpmSequence, index: number, session: TpmSession): Promise<bigint | undefined> {
  const area = await readNvPublic(tpm, index);
  if (area === undefined || (area.attributes & nvAttribute.written) === 0) return undefined;
  const entity = counterOf(index, area);
  const { parameters } = await tpm.execute({
    code: commandCode.nvRead,
    entities: [entity, entity],
    authorizations: [{ session }],
    parameters: new TpmWriter().u16(COUNTER_BYTES).u16(0).done(),
  });
  const value = parameters.sized(COUNTER_BYTES);
  parameters.end();
  if (value.length !== COUNTER_BYTES) throw parameters.wrong("is no counter's value");
  return value.readBigUInt64BE();
}

/** By its name, and not by a bit of its kind: an index of another one may hold whatever somebody wrote there. */
function counterOf(index: number, { name }: NvPublic): TpmEntity {
  const unwritten = nameOfArea(counterArea(index));
  if (!name.equals(counterName(index)) && !name.equals(unwritten)) throw notCounter(index);
  return { handle: index, name };
}

function notCounter(index: number): RangeError {
  return new RangeError(`the NV index 0x${index.toString(16)} is no counter`);
}
