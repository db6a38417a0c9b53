import { digest, hashNumber, hashOfNumber, type HashName } from "./hash.ts";
import { type TpmReader, TpmWriter } from "./marshal.ts";

/** The platform configuration registers of one bank, ascending. A PC client has 24 of them. */
export interface PcrSelection {
  hash: HashName;
  pcrs: readonly number[];
}

/** Values of PCRs of the SHA-256 bank by their number, as a TPM holds them. */
export type PcrValues = ReadonlyMap<number, Uint8Array>;

export const PCR_COUNT = 24;
const SELECT_BYTES = PCR_COUNT / 8;
const MAX_BANKS = 16;

/** TPML_PCR_SELECTION (Part 2, section 10.9.7). */
export function writePcrSelection(writer: TpmWriter, selections: readonly PcrSelection[]): TpmWriter {
  writer.u32(selections.length);
  for (const { hash, pcrs } of selections) {
    const bits = pcrs.reduce((mask, pcr) => mask | (1 << checkedPcr(pcr)), 0);
    writer.u16(hashNumber(hash)).u8(SELECT_BYTES);
    for (let byte = 0; byte < SELECT_BYTES; byte++) writer.u8((bits >>> (8 * byte)) & 0xff);
  }
  return writer;
}

export function pcrSelection(pcrs: readonly number[], hash: HashName = "sha256"): Buffer {
  return writePcrSelection(new TpmWriter(), [{ hash, pcrs }]).done();
}

/** @throws TpmFormatError also for a bank of an unknown hash: what a digest covers must be known. */
export function readPcrSelection(reader: TpmReader): PcrSelection[] {
  const count = reader.u32();
  if (count > MAX_BANKS) throw reader.wrong(`selects from ${count} banks`);
  return Array.from({ length: count }, () => {
    const number = reader.u16();
    const hash = hashOfNumber(number);
    if (hash === undefined) throw reader.wrong(`selects PCRs of an unknown bank 0x${number.toString(16)}`);
    const size = reader.u8();
    if (size !== SELECT_BYTES) throw reader.wrong(`selects PCRs by ${size} bytes where ${SELECT_BYTES} must stand`);
    const bits = reader.bytes(SELECT_BYTES).readUIntLE(0, SELECT_BYTES);
    return { hash, pcrs: Array.from({ length: PCR_COUNT }, (_, pcr) => pcr).filter((pcr) => (bits >>> pcr) & 1) };
  });
}

/** The digest of PCR values in ascending order, as TPM2_Quote and TPM2_PolicyPCR make it. */
export function pcrDigest(values: PcrValues, hash: HashName = "sha256"): Buffer {
  return digest(hash, ...ascending(values).map(([, value]) => value));
}

/** What a PCR holds after `value` was measured into one that held `before` (Part 1, section 17.2). */
export function extendedPcr(before: Uint8Array, value: Uint8Array): Buffer {
  return digest("sha256", before, value);
}

export function ascending(values: PcrValues): [number, Uint8Array][] {
  return [...values].sort(([a], [b]) => a - b);
}

function checkedPcr(pcr: number): number {
  if (!Number.isInteger(pcr) || pcr < 0 || pcr >= PCR_COUNT) throw new RangeError(`there is no PCR ${pcr}`);
  return pcr;
}
