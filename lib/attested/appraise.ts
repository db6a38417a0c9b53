import { createHash } from "node:crypto";

import type { GetAttestationResponse } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import {
  type ActivatedKey,
  appraise as appraiseEvidence,
  AttestationError,
  type AttestationErrorCode,
  mediaTypes,
  type NonEmpty,
  type Platform,
  type Verified,
} from "../evidence/index.ts";
import { canonicalJson } from "../evidence/canonical-json.ts";
import { areSignedBy, type Claims, claimsDigest, identityKeyName, parseClaims } from "../evidence/claims.ts";

import type { Connection } from "./connection.ts";
import type { Policy } from "./policy.ts";

/** What was asked, on which connection, and when: what an answer is compared with. */
export interface Asked {
  nonce: Uint8Array;
  connection: Pick<Connection, "spkiSha256" | "exporter">;
  /** Epoch milliseconds. */
  at: number;
  /** What the worker's TPM proved by a second call, where the policy needs that. */
  activated?: ActivatedKey;
}

/** A key service that is what the policy demands, on this connection, now. */
export interface Appraisal {
  claims: Claims;
  verified: Verified;
}

/** One thing that a policy demands, and how it stands. */
export interface Check {
  name: string;
  /** Absent where it holds. */
  error?: AttestationError;
  /** What was found, in words. */
  found: string;
}

/** Appraises an answer of GetAttestation. @throws AttestationError for the first thing that is not as the policy demands */
export function appraise(answer: GetAttestationResponse, asked: Asked, policy: Policy): Appraisal {
  const { checks, appraisal } = examine(answer, asked, policy);
  for (const { error } of checks) if (error !== undefined) throw error;
  if (appraisal === undefined) throw new Error("nothing was refused, and nothing was verified");
  return appraisal;
}

/** The same, check by check, for a person to read: what can be looked at is looked at, also where something else fails. */
export function examine(
  answer: GetAttestationResponse,
  asked: Asked,
  policy: Policy,
): { checks: readonly Check[]; appraisal?: Appraisal } {
  const checks: Check[] = [];
  const check = <T>(name: string, look: () => { found: string; value: T }): T | undefined => {
    try {
      const { found, value } = look();
      checks.push({ name, found });
      return value;
    } catch (error) {
      if (!(error instanceof AttestationError)) throw error;
      checks.push({ name, found: error.message, error });
      return undefined;
    }
  };

  const claims = check("claims", () => ({ found: "canonical, and all there", value: parseClaims(answer.claims) }));
  if (claims !== undefined) {
    const checksOfClaims = [...claimChecks(claims, asked, policy), ...possessionCheck(claims, answer)];
    for (const [name, look] of checksOfClaims) check(name, () => ({ found: look(), value: true }));
  }
  const verified = check("evidence", () => {
    const { mediaType, evidence, endorsements } = answer;
    const expected = { nonce: asked.nonce, reportData: claimsDigest(answer.claims), at: new Date(asked.at) };
    const platforms = platformsFor(mediaType, policy, asked);
    const value = appraiseEvidence({ mediaType, evidence, endorsements }, expected, platforms);
    return { found: verifiedInWords(value), value };
  });
  if (claims !== undefined && verified?.type === "aws-nitro") {
    check("evidence key", () => ({ found: documentKey(verified, claims), value: true }));
  }
  const whole = claims !== undefined && verified !== undefined && checks.every(({ error }) => error === undefined);
  return { checks, ...(whole && { appraisal: { claims, verified } }) };
}

/** The entries of the policy that are for this kind of evidence. @throws AttestationError NOT_ACCEPTED */
function platformsFor(mediaType: string, { platforms }: Policy, { activated }: Asked): NonEmpty<Platform> {
  const [first, ...others] = platforms.filter(({ type }) => mediaTypes[type] === mediaType);
  if (first !== undefined) return [first.pinned(activated), ...others.map(({ pinned }) => pinned(activated))];
  const accepted = [...new Set(platforms.map(({ type }) => mediaTypes[type]))].join(", ");
  throw new AttestationError("NOT_ACCEPTED", `the policy accepts ${accepted}, not ${JSON.stringify(mediaType)}`);
}

/** What is compared of the claims. Evidence makes them true; these make them ours. */
function claimChecks(claims: Claims, { nonce, connection, at }: Asked, policy: Policy): [string, () => string][] {
  return [
    ["nonce", () => same("NONCE", "eat_nonce", hex(claims.nonce), hex(nonce))],
    [
      "connection key",
      () => same("REPORT_DATA", "tls_spki_sha256", hex(claims.tlsSpkiSha256), hex(connection.spkiSha256)),
    ],
    ["connection", () => same("REPORT_DATA", "tls_exporter", hex(claims.tlsExporter), hex(connection.exporter))],
    ["age", () => ageOf(claims, at, policy)],
    ["identity key", () => oneOf("identity_pub", identityKeyName(claims.identityKey), policy.identityKeys)],
    ["settings", () => settingsOf(claims, policy)],
    ...retiredCheck(claims, policy),
    ["sign log", () => same("IDENTITY", "log.vkey", claims.log.vkey, policy.logKey)],
  ];
}

/** That the worker has the identity key, and does not only name it. */
function possessionCheck(
  { identityKey }: Claims,
  { claims, identitySignature }: GetAttestationResponse,
): [string, () => string][] {
  const look = (): string => {
    if (areSignedBy(claims, identitySignature, identityKey)) return "signed the claims";
    throw new AttestationError("IDENTITY", "the claims are not signed by the identity key that they name");
  };
  return [["identity key's use", look]];
}

/** A document of Nitro's names a key by itself: AWS signs that it is the one of this connection, whatever the claims say. */
function documentKey({ identity }: Verified, claims: Claims): string {
  const key = identity["public_key"];
  if (key === undefined) throw new AttestationError("REPORT_DATA", "the Nitro document names no public_key");
  const digest = createHash("sha256").update(Buffer.from(key, "hex")).digest();
  return same("REPORT_DATA", "SHA-256 of the document's public_key", hex(digest), hex(claims.tlsSpkiSha256));
}

function same(code: AttestationErrorCode, name: string, found: string, expected: string): string {
  if (found === expected) return `${name} is ${found}`;
  throw new AttestationError(code, `${name} is ${found}, expected ${expected}`);
}

function oneOf(name: string, found: string, expected: readonly string[]): string {
  if (expected.includes(found)) return `${name} is ${found}`;
  throw new AttestationError("IDENTITY", `${name} is ${found}, expected ${expected.join(" or ")}`);
}

function ageOf({ issuedAt }: Claims, at: number, { maxEvidenceAgeMs, clockSkewMs }: Policy): string {
  const age = at - issuedAt * 1000;
  // Claims tell whole seconds only.
  if (age <= maxEvidenceAgeMs + 1000 && age >= -clockSkewMs - 1000) return `made ${Math.round(age / 1000)} s ago`;
  throw new AttestationError(
    "STALE",
    `the claims were made ${Math.round(age / 1000)} s ago by this machine's clock, expected at most ` +
      `${maxEvidenceAgeMs / 1000} s, and no more than ${clockSkewMs / 1000} s ahead`,
  );
}

/** Word for word, and no other: a setting that the policy does not know may change what is signed. */
function settingsOf({ settings }: Claims, policy: Policy): string {
  const names = [...new Set([...Object.keys(settings), ...Object.keys(policy.settings)])].sort();
  const differences = names.flatMap((name) => {
    const [found, expected] = [settings, policy.settings].map((all) =>
      Object.hasOwn(all, name) ? canonicalJson(all[name] ?? null) : "not there",
    );
    return found === expected ? [] : [`${name} is ${found ?? ""}, expected ${expected ?? ""}`];
  });
  if (differences.length === 0) return canonicalJson(settings);
  throw new AttestationError("MEASUREMENT", `settings: ${differences.join("; ")}`);
}

/** A seal that is not for a release key opens for one code only, and says nothing of releases: it is not what was demanded either. */
function retiredCheck(
  { minSecurityVersion: found }: Claims,
  { minSecurityVersion: least }: Policy,
): [string, () => string][] {
  if (least === undefined) return [];
  const look = (): string => {
    const name = `min_security_version is ${found ?? "not there"}`;
    if (found !== undefined && found >= least) return name;
    throw new AttestationError("MEASUREMENT", `${name}, expected ${least} or more: older releases open the seal still`);
  };
  return [["releases", look]];
}

function verifiedInWords({ type, measurements, identity, warnings }: Verified): string {
  const pairs = Object.entries({ ...measurements, ...identity }).map(([name, value]) => `${name} ${value}`);
  return [`${type}: ${pairs.join(", ")}`, ...warnings].join("; ");
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
