import { createHash } from "node:crypto";

import type { Clock } from "@agentkeys/lib/clock";
import {
  appraise,
  AttestationError,
  type Evidence,
  type NonEmpty,
  type Platform,
  type Verified,
} from "@agentkeys/lib/evidence";
import { canonicalJson, type JsonValue } from "@agentkeys/lib/evidence/canonical-json";
import { parseSettings, type SettingValue } from "@agentkeys/lib/evidence/claims";
import { Json } from "@agentkeys/lib/evidence/json";

import type { EvidenceProvider } from "../provider.ts";

/**
 * The other direction of attestation: a worker that calls another one proves by evidence what it is. GetAttestation's claims do not serve
 * for it, since a machine that has not got its master secret back yet has no identity key and no log.
 */
export interface PeerClaims {
  purpose: PeerPurpose;
  /** The custodian's, for this connection. */
  nonce: Uint8Array;
  /** Epoch milliseconds, in whole seconds. */
  issuedAt: number;
  /** RFC 9266: of the very connection that carries the request. */
  tlsExporter: Uint8Array;
  /** What is asked with it: see `depositDigest` and `recoverDigest`. 32 bytes. */
  request: Uint8Array;
  settings: Readonly<Record<string, SettingValue>>;
  signerVersion: string;
}

export type PeerPurpose = "deposit" | "recover";

/** The evidence and its claims, as they are sent. */
export interface PeerEvidence extends Evidence {
  claims: Uint8Array;
}

/** What a custodian demands of a worker that calls it. Every part is demanded. */
export interface PeerPolicy {
  maxEvidenceAgeMs: number;
  clockSkewMs: number;
  /** Word for word. */
  settings: Readonly<Record<string, SettingValue>>;
  platforms: NonEmpty<Platform>;
}

/** What the custodian knows by itself of a request. */
export interface PeerExpected {
  purpose: PeerPurpose;
  nonce: Uint8Array;
  tlsExporter: Uint8Array;
  request: Uint8Array;
  /** Epoch milliseconds. */
  at: number;
}

const PROFILE = "tag:agentkeys,2026:backup-v1";
const MAX_BYTES = 16 * 1024;

/** Has the hardware vouch for a request on a connection. */
export type Voucher = (
  about: Pick<PeerExpected, "purpose" | "nonce" | "tlsExporter" | "request">,
) => Promise<PeerEvidence>;

export function createVoucher(parts: {
  provider: EvidenceProvider;
  settings: Readonly<Record<string, SettingValue>>;
  version: string;
  clock: Clock;
}): Voucher {
  const { provider, settings, version, clock } = parts;
  return async (about) => {
    const issuedAt = Math.floor(clock() / 1000) * 1000;
    const claims = encodePeerClaims({ ...about, issuedAt, settings, signerVersion: version });
    return { ...(await provider.evidence(peerClaimsDigest(claims), about.nonce)), claims };
  };
}

/** @throws AttestationError for the first thing that is not as the policy demands */
export function appraisePeer(evidence: PeerEvidence, expected: PeerExpected, policy: PeerPolicy): Verified {
  const { nonce, at } = expected;
  const claims = parsePeerClaims(evidence.claims);
  const reportData = peerClaimsDigest(evidence.claims);
  const verified = appraise(evidence, { nonce, reportData, at: new Date(at) }, policy.platforms);
  same("NONCE", "eat_nonce", hex(claims.nonce), hex(nonce));
  same("REPORT_DATA", "purpose", claims.purpose, expected.purpose);
  same("REPORT_DATA", "tls_exporter", hex(claims.tlsExporter), hex(expected.tlsExporter));
  same("REPORT_DATA", "request_sha256", hex(claims.request), hex(expected.request));
  same("MEASUREMENT", "settings", canonicalJson(claims.settings), canonicalJson(policy.settings));
  const age = at - claims.issuedAt;
  // Claims tell whole seconds only.
  if (!(age <= policy.maxEvidenceAgeMs + 1000 && age >= -policy.clockSkewMs - 1000)) {
    throw new AttestationError("STALE", `the claims were made ${Math.round(age / 1000)} s ago by this worker's clock`);
  }
  return verified;
}

/** What a deposit's evidence covers beside the connection. */
export function depositDigest(backupId: string, index: number, share: Uint8Array): Buffer {
  return createHash("sha256")
    .update("agentkeys/backup-deposit/v1\0")
    .update(Buffer.from(backupId, "hex"))
    .update(Uint8Array.of(index))
    .update(share)
    .digest();
}

/** What a recovery's evidence covers beside the connection. */
export function recoverDigest(backupId: string, ticket: string): Buffer {
  return createHash("sha256")
    .update("agentkeys/backup-recover/v1\0")
    .update(Buffer.from(backupId, "hex"))
    .update(ticket)
    .digest();
}

/** Unlike `claimsDigest`'s for the same bytes: evidence of the one kind is none of the other. */
export function peerClaimsDigest(encoded: Uint8Array): Buffer {
  return createHash("sha256").update("agentkeys/backup-evidence/v1\0").update(encoded).digest();
}

export function encodePeerClaims(claims: PeerClaims): Buffer {
  return Buffer.from(
    canonicalJson({
      eat_profile: PROFILE,
      eat_nonce: Buffer.from(claims.nonce).toString("base64url"),
      iat: claims.issuedAt / 1000,
      purpose: claims.purpose,
      request_sha256: hex(claims.request),
      settings: claims.settings,
      signer_version: claims.signerVersion,
      tls_exporter: hex(claims.tlsExporter),
    }),
  );
}

function parsePeerClaims(encoded: Uint8Array): PeerClaims {
  if (encoded.length > MAX_BYTES) throw new AttestationError("MALFORMED", "the claims are longer than 16 KiB");
  const json = Json.parse(encoded, "the claims");
  json.field("eat_profile").oneOf([PROFILE]);
  const claims: PeerClaims = {
    purpose: json.field("purpose").oneOf(["deposit", "recover"]),
    nonce: json.field("eat_nonce").base64url(),
    issuedAt: json.field("iat").integer() * 1000,
    tlsExporter: json.field("tls_exporter").hex(32),
    request: json.field("request_sha256").hex(32),
    settings: parseSettings((JSON.parse(Buffer.from(encoded).toString()) as { settings?: JsonValue }).settings ?? null),
    signerVersion: json.field("signer_version").text(),
  };
  // Also refuses members that are not known, or came twice.
  if (encodePeerClaims(claims).equals(encoded)) return claims;
  throw new AttestationError("MALFORMED", "the claims are not in their canonical form (RFC 8785)");
}

function same(code: "NONCE" | "REPORT_DATA" | "MEASUREMENT", name: string, found: string, expected: string): void {
  if (found !== expected) throw new AttestationError(code, `${name} is ${found}, expected ${expected}`);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
