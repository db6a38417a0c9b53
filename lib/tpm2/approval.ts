import { createPublicKey, type KeyObject, sign } from "node:crypto";

import { TpmFormatError } from "./marshal.ts";
import { ascending, PCR_COUNT, type PcrValues } from "./pcr.ts";
import { authorizationMessage, policyOfPcrs } from "./policy.ts";
import { isSignedBy, marshalSignature, parseSignature, type TpmSignature } from "./signature.ts";
import { verificationKey } from "./templates.ts";

/** A release that may open what was sealed for a release key: PCR values and a security version, signed by that key for one purpose. */
export interface Approval {
  /** For people. Not signed: the PCR values say which code it is. */
  release: string;
  /**
   * SVN: which known holes the release has closed, as the key's holder counts them, 0 to `MAX_SECURITY_VERSION`. A TPM that was told so
   * opens no more for lower ones (CoRIM's `svn`, Android's rollback index).
   */
  securityVersion: number;
  /** The SHA-256 bank. */
  pcrs: PcrValues;
  /** Over `authorizationMessage(policyOfPcrs(pcrs), approvalReference(securityVersion))`. */
  signature: TpmSignature;
}

/** What a key approves. */
export type Approved = Omit<Approval, "signature">;

/** As many digits as there is room for in a reference: see there. */
export const MAX_SECURITY_VERSION = 65_535;

/**
 * What is signed along: an approval for this purpose and security version is good for no other. A new text here makes all old approvals
 * void. At most 32 bytes: a TPM2B_NONCE of a TPM whose longest hash is SHA-256 holds no more.
 */
export function approvalReference(securityVersion: number): Buffer {
  return Buffer.from(`agentkeys-tee-root-key-v2 ${securityVersion}`);
}

const VERSION = 2;
const MAX_APPROVALS = 64;
const PCR_BYTES = 32;

/**
 * Approves the code that these PCR values stand for: done where the release key is, with no TPM. The key is ECDSA P-256 or RSA, since
 * it is a TPM that verifies. @throws TpmFormatError for another kind of key, RangeError for no security version
 */
export function approve(approved: Approved, releaseKey: KeyObject): Approval {
  const { securityVersion } = approved;
  if (!isSecurityVersion(securityVersion)) {
    throw new RangeError(`a security version is a whole number from 0 to ${MAX_SECURITY_VERSION}`);
  }
  const { type } = verificationKey(createPublicKey(releaseKey));
  const message = messageOf(approved);
  if (type === "rsa") {
    return {
      ...approved,
      signature: { scheme: "rsassa", hash: "sha256", value: sign("sha256", message, releaseKey) },
    };
  }
  const raw = sign("sha256", message, { key: releaseKey, dsaEncoding: "ieee-p1363" });
  return {
    ...approved,
    signature: { scheme: "ecdsa", hash: "sha256", r: raw.subarray(0, 32), s: raw.subarray(32) },
  };
}

/** Whether this key gave the approval; the TPM asks again. */
export function isApprovedBy(releaseKey: KeyObject, approval: Approval): boolean {
  return isSignedBy(releaseKey, messageOf(approval), approval.signature);
}

function messageOf({ pcrs, securityVersion }: Approved): Buffer {
  return authorizationMessage(policyOfPcrs(pcrs), approvalReference(securityVersion));
}

/** Whether it is one: anything else that came from elsewhere is none. */
export function isSecurityVersion(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_SECURITY_VERSION;
}

/** The text of an approvals file: JSON, the newest release wherever it stands. */
export function formatApprovals(approvals: readonly Approval[]): string {
  const file = {
    version: VERSION,
    approvals: approvals.map(({ release, securityVersion, pcrs, signature }) => ({
      release,
      security_version: securityVersion,
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
  if (file["version"] === 1) {
    throw wrong(
      "is of version 1, whose approvals have no security version: have the release key approve the releases anew",
    );
  }
  if (file["version"] !== VERSION) throw wrong(`is of another version than ${VERSION}`);
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_APPROVALS) {
    throw wrong(`holds not 1 to ${MAX_APPROVALS} approvals`);
  }
  return list.map((one: unknown) => {
    const fields = objectOf(one, ["release", "security_version", "pcrs", "signature"]);
    const { release, security_version: securityVersion, pcrs, signature } = fields;
    if (typeof release !== "string" || !/^[\w.+-]{1,64}$/.test(release)) throw wrong("has no proper release");
    if (!isSecurityVersion(securityVersion)) throw wrong("has no proper security_version");
    if (typeof signature !== "string") throw wrong("has no proper signature");
    return {
      release,
      securityVersion,
      pcrs: pcrsOf(pcrs),
      signature: parseSignature(Buffer.from(signature, "base64")),
    };
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
