import { createPublicKey, type KeyObject, sign } from "node:crypto";

import { TpmFormatError } from "./marshal.ts";
import { ascending, PCR_COUNT, type PcrValues } from "./pcr.ts";
import { authorizationMessage, policyOfPcrs } from "./policy.ts";
import { isSignedBy, marshalSignature, parseSignature, type TpmSignature } from "./signature.ts";
import { verificationKey } from "./templates.ts";

/** A release that may open what was sealed for a release key: PCR values, signed by that key for one purpose. */
export interface Approval {
  /** For people. Not signed: the PCR values say which code it is. */
  release: string;
  /** The SHA-256 bank. */
  pcrs: PcrValues;
  /** Over `authorizationMessage(policyOfPcrs(pcrs), reference)`. */
  signature: TpmSignature;
}

/** What is signed along: an approval for this purpose is good for no other. A new text here makes all old approvals void. */
export const APPROVAL_REFERENCE = Buffer.from("agentkeys-tee-root-key-v1");

const VERSION = 1;
const MAX_APPROVALS = 64;
const PCR_BYTES = 32;

/**
 * Approves the code that these PCR values stand for: done where the release key is, with no TPM. The key is ECDSA P-256 or RSA, since
 * it is a TPM that verifies. @throws TpmFormatError for another kind of key
 */
export function approve(release: string, pcrs: PcrValues, releaseKey: KeyObject): Approval {
  const { type } = verificationKey(createPublicKey(releaseKey));
  const message = authorizationMessage(policyOfPcrs(pcrs), APPROVAL_REFERENCE);
  if (type === "rsa") {
    return {
      release,
      pcrs,
      signature: { scheme: "rsassa", hash: "sha256", value: sign("sha256", message, releaseKey) },
    };
  }
  const raw = sign("sha256", message, { key: releaseKey, dsaEncoding: "ieee-p1363" });
  return {
    release,
    pcrs,
    signature: { scheme: "ecdsa", hash: "sha256", r: raw.subarray(0, 32), s: raw.subarray(32) },
  };
}

/** Whether this key gave the approval; the TPM asks again. */
export function isApprovedBy(releaseKey: KeyObject, { pcrs, signature }: Approval): boolean {
  return isSignedBy(releaseKey, authorizationMessage(policyOfPcrs(pcrs), APPROVAL_REFERENCE), signature);
}

/** The text of an approvals file: JSON, the newest release wherever it stands. */
export function formatApprovals(approvals: readonly Approval[]): string {
  const file = {
    version: VERSION,
    approvals: approvals.map(({ release, pcrs, signature }) => ({
      release,
      pcrs: Object.fromEntries(ascending(pcrs).map(([pcr, value]) => [pcr, Buffer.from(value).toString("hex")])),
      signature: marshalSignature(signature).toString("base64"),
    })),
  };
  return JSON.stringify(file, null, 2) + "\n";
}

/** Reads an approvals file; who has signed is asked later. @throws TpmFormatError */
export function parseApprovals(text: string): Approval[] {
  const file = objectOf(parseJson(text), ["version", "approvals"]);
  const list = file["approvals"];
  if (file["version"] !== VERSION) throw wrong(`is of another version than ${VERSION}`);
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_APPROVALS) {
    throw wrong(`holds not 1 to ${MAX_APPROVALS} approvals`);
  }
  return list.map((one: unknown) => {
    const { release, pcrs, signature } = objectOf(one, ["release", "pcrs", "signature"]);
    if (typeof release !== "string" || !/^[\w.+-]{1,64}$/.test(release)) throw wrong("has no proper release");
    if (typeof signature !== "string") throw wrong("has no proper signature");
    return { release, pcrs: pcrsOf(pcrs), signature: parseSignature(Buffer.from(signature, "base64")) };
  });
}

function pcrsOf(value: unknown): PcrValues {
  const entries = Object.entries(objectOf(value));
  if (entries.length === 0) throw wrong("approves no PCR at all");
  return new Map(
    entries.map(([name, hex]) => {
      const pcr = Number(name);
      const proper = /^(?:0|[1-9]\d?)$/.test(name) && pcr < PCR_COUNT;
      if (!proper || typeof hex !== "string" || !/^[0-9a-f]{64}$/.test(hex)) {
        throw wrong(`has PCR values that are not ${PCR_BYTES} bytes in lower-case hex by the PCR's number`);
      }
      return [pcr, Buffer.from(hex, "hex")] as const;
    }),
  );
}

function objectOf(value: unknown, fields?: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong("is no JSON of this kind");
  const stranger = fields && Object.keys(value).find((name) => !fields.includes(name));
  if (stranger !== undefined) throw wrong("has a field that does not belong there");
  return value as Record<string, unknown>;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function wrong(how: string): TpmFormatError {
  return new TpmFormatError(`the approvals file ${how}`);
}
