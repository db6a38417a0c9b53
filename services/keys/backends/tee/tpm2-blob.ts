import { parsePublic, type PcrValues, TpmFormatError, type WrappedObject } from "@agentkeys/lib/tpm2";

import { UnsealRefused } from "./sealer.ts";

/** An object that a TPM has wrapped, as it is kept. Nothing of it is secret. */
export interface Tpm2Blob extends WrappedObject {
  /** The name of the storage root key that wrapped it: another TPM has another. */
  parentName: Uint8Array;
  /** What it was sealed to, where that is fixed. */
  sealedTo?: PcrValues;
}

const MAX_BLOB = 8 * 1024;

export function formatTpm2Blob({ parentName, sealedTo, ...object }: Tpm2Blob): Buffer {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  return Buffer.from(
    JSON.stringify({
      parent: hex(parentName),
      public: hex(object.public),
      private: hex(object.private),
      ...(sealedTo && { sealed_to: Object.fromEntries([...sealedTo].map(([pcr, value]) => [pcr, hex(value)])) }),
    }),
  );
}

/** @throws UnsealRefused BLOB for anything that `formatTpm2Blob` does not make. */
export function parseTpm2Blob(bytes: Uint8Array): Tpm2Blob {
  try {
    if (bytes.length > MAX_BLOB) throw new TypeError("too long");
    const json = JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>;
    const blob: Tpm2Blob = {
      parentName: fromHex(json["parent"]),
      public: fromHex(json["public"]),
      private: fromHex(json["private"]),
      ...(json["sealed_to"] !== undefined && { sealedTo: pcrsOf(json["sealed_to"]) }),
    };
    parsePublic(blob.public);
    if (!formatTpm2Blob(blob).equals(bytes)) throw new TypeError("not canonical");
    return blob;
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError || error instanceof TpmFormatError)) throw error;
    throw new UnsealRefused("BLOB", "the sealed blob is damaged: restore the state file from a backup");
  }
}

function pcrsOf(value: unknown): PcrValues {
  if (typeof value !== "object" || value === null) throw new TypeError("no PCRs");
  return new Map(Object.entries(value).map(([pcr, hex]) => [Number(pcr), fromHex(hex)]));
}

function fromHex(value: unknown): Buffer {
  if (typeof value !== "string") throw new TypeError("no hex");
  return Buffer.from(value, "hex");
}
