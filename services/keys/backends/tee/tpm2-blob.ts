import {
  formatApprovals,
  isSecurityVersion,
  parseApprovals,
  parsePublic,
  type PcrValues,
  TpmFormatError,
  type WrappedObject,
} from "@agentkeys/lib/tpm2";

import type { Origin } from "./origin.ts";
import type { CodeTerms } from "./seal-policy.ts";
import { UnsealRefused } from "./sealer.ts";

/** An object that a TPM has wrapped, as it is kept. Nothing of it is secret. */
export interface Tpm2Blob extends WrappedObject {
  /** The name of the storage root key that wrapped it: another TPM has another. */
  parentName: Uint8Array;
  terms: SealTerms;
  origin: Origin;
}

/** What the object's policy is made of: whoever changes them has the digest of another policy. */
export interface SealTerms {
  code: CodeTerms;
  /** The value of the TPM's seal counter beyond which the blob is void. */
  counter: bigint;
}

/** The version of the form: 1 had no terms, and its policy no counters. */
const BLOB_VERSION = 2;
const MAX_BLOB = 8 * 1024;

export function formatTpm2Blob({ parentName, terms, origin, ...object }: Tpm2Blob): Buffer {
  return Buffer.from(
    JSON.stringify({
      version: BLOB_VERSION,
      parent: toHex(parentName),
      public: toHex(object.public),
      private: toHex(object.private),
      counter: String(terms.counter),
      ...codeFields(terms.code),
      made: {
        data: toHex(origin.creation.data),
        ticket: toHex(origin.creation.ticket),
        ...(origin.approval && { by: formatApprovals([origin.approval]) }),
      },
    }),
  );
}

function codeFields(code: CodeTerms): Record<string, unknown> {
  if ("pcrs" in code) {
    return { pcrs: Object.fromEntries([...code.pcrs].map(([pcr, value]) => [pcr, toHex(value)])) };
  }
  return { releases: { least: code.releases.least, counter: String(code.releases.counter) } };
}

/** @throws UnsealRefused BLOB for anything that `formatTpm2Blob` does not make. */
export function parseTpm2Blob(bytes: Uint8Array): Tpm2Blob {
  try {
    if (bytes.length > MAX_BLOB) throw new TypeError("too long");
    const json = objectOf(JSON.parse(Buffer.from(bytes).toString()));
    if (json["parent"] !== undefined && json["version"] === undefined) throw beforeCounters();
    const blob: Tpm2Blob = {
      parentName: fromHex(json["parent"]),
      public: fromHex(json["public"]),
      private: fromHex(json["private"]),
      terms: { code: codeOf(json), counter: counterOf(json["counter"]) },
      origin: originOf(objectOf(json["made"])),
    };
    parsePublic(blob.public);
    if (!formatTpm2Blob(blob).equals(bytes)) throw new TypeError("not canonical");
    return blob;
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError || error instanceof TpmFormatError)) throw error;
    throw new UnsealRefused("BLOB", "the sealed blob is damaged: restore the state file from a backup");
  }
}

function originOf(json: Record<string, unknown>): Origin {
  const creation = { data: fromHex(json["data"]), ticket: fromHex(json["ticket"]) };
  if (json["by"] === undefined) return { creation };
  if (typeof json["by"] !== "string") throw new TypeError("no approval");
  const [approval] = parseApprovals(json["by"]);
  return { creation, ...(approval && { approval }) };
}

function codeOf(json: Record<string, unknown>): CodeTerms {
  if (json["releases"] === undefined) return { pcrs: pcrsOf(json["pcrs"]) };
  const { least, counter } = objectOf(json["releases"]);
  if (!isSecurityVersion(least)) throw new TypeError("no security version");
  return { releases: { least, counter: counterOf(counter) } };
}

function pcrsOf(value: unknown): PcrValues {
  return new Map(Object.entries(objectOf(value)).map(([pcr, hex]) => [Number(pcr), fromHex(hex)]));
}

function counterOf(value: unknown): bigint {
  // Short of 2^64, so that what is added to it stays below.
  if (typeof value !== "string" || !/^\d{1,18}$/.test(value)) throw new TypeError("no counter");
  return BigInt(value);
}

function objectOf(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new TypeError("no object");
  return value as Record<string, unknown>;
}

function beforeCounters(): UnsealRefused {
  return new UnsealRefused(
    "BLOB",
    "the blob was sealed before seals had counters in their policy: start the release that made it, or begin anew with a new worker " +
      "and move the wallets (agentkeys migrate-wallet)",
  );
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function fromHex(value: unknown): Buffer {
  if (typeof value !== "string") throw new TypeError("no hex");
  return Buffer.from(value, "hex");
}
