import { verify } from "node:crypto";

import { readCertificates, verifyChain } from "./chain.ts";
import {
  AttestationError,
  type Evidence,
  type EvidenceVerifier,
  type Expected,
  type NonEmpty,
  type Verified,
} from "./evidence.ts";
import { checkIntake } from "./intake.ts";
import { Json } from "./json.ts";
import { type AgeLimits, checkAge, compareBytes, comparePins, type Pin } from "./pins.ts";
import type { Certificate } from "./x509.ts";

/** What is pinned of a worker that has no hardware: everything it says of itself is as good as its key, which is in a file. */
export interface SoftPins extends AgeLimits {
  /** Written out by whoever accepts such evidence: there is no default, and no other value. */
  development: true;
  /** SHA-256 of the certificate of the root that the developer made. */
  roots: NonEmpty<string>;
  /** What the worker says that it is, by names of its own (`code`); compared as text. */
  code: NonEmpty<Pin<string>>;
  /** Whose the worker says that it is, likewise. */
  identity: NonEmpty<Pin<string>>;
}

/** The `typ` of the JWS. */
export const SOFT_EVIDENCE_TYP = "agentkeys-soft-evidence+jwt";

/**
 * For development only: a JWS with ES256 in its flattened JSON form (RFC 7515 section 7.2.2) whose header brings the
 * certificates (`x5c`). It protects nothing, and exists so that everything around it can be tried on any machine.
 */
export const softVerifier: EvidenceVerifier<SoftPins> = {
  type: "soft",
  verify(evidence: Evidence, { nonce, reportData, at }: Expected, pins: SoftPins): Verified {
    if ((pins.development as unknown) !== true) {
      throw new AttestationError("NOT_ACCEPTED", "soft evidence protects nothing, and is accepted in development only");
    }
    checkIntake("soft", evidence, { evidenceBytes: 16_384, endorsements: 0 });
    const claims = readClaims(authenticate(evidence.evidence, pins.roots, at));
    compareBytes(claims.nonce, nonce, "NONCE", "the nonce of the soft evidence");
    compareBytes(claims.reportData, reportData, "REPORT_DATA", "report_data of the soft evidence");
    checkAge(claims.madeAt, at, pins, "the soft evidence");
    return {
      type: "soft",
      measurements: comparePins(pins.code, claims.measurements, "MEASUREMENT", "the soft evidence"),
      identity: comparePins(pins.identity, claims.identity, "IDENTITY", "the soft evidence"),
      madeAt: claims.madeAt,
      warnings: ["no hardware vouches for this worker: for development only"],
    };
  },
};

/** Verifies the JWS and returns its payload. */
function authenticate(bytes: Uint8Array, roots: NonEmpty<string>, at: Date): Buffer {
  const jws = Json.parseCompact(bytes, "the soft evidence").only(["payload", "protected", "signature"]);
  const [header, payload] = [jws.field("protected"), jws.field("payload")];
  const leaf = signerOf(Json.parseCompact(header.base64url(), "the JWS header"), roots, at);
  const signed = Buffer.from(`${header.text()}.${payload.text()}`, "latin1");
  const key = { key: leaf.publicKey, dsaEncoding: "ieee-p1363" } as const;
  if (!verify("sha256", signed, key, jws.field("signature").base64url())) {
    throw new AttestationError("SIGNATURE", "the soft evidence's signature is wrong");
  }
  return payload.base64url();
}

function signerOf(header: Json, roots: NonEmpty<string>, at: Date): Certificate {
  header.only(["alg", "typ", "x5c"]);
  if (header.field("alg").text() !== "ES256" || header.field("typ").text() !== SOFT_EVIDENCE_TYP) {
    throw new AttestationError("UNSUPPORTED", `the soft evidence is not a JWS with ES256 and typ ${SOFT_EVIDENCE_TYP}`);
  }
  const what = "the soft evidence's certificates";
  const certificates = readCertificates(
    header
      .field("x5c")
      .list()
      .map((item) => item.base64()),
    what,
  );
  const leaf = verifyChain(certificates, { roots, at, what });
  if (leaf.publicKey.asymmetricKeyDetails?.namedCurve !== "prime256v1") {
    throw new AttestationError("UNSUPPORTED", "the soft evidence is signed by a key that is not on P-256");
  }
  return leaf;
}

interface SoftClaims {
  nonce: Buffer;
  reportData: Buffer;
  madeAt: Date;
  measurements: Record<string, string>;
  identity: Record<string, string>;
}

function readClaims(payload: Buffer): SoftClaims {
  const claims = Json.parseCompact(payload, "the soft evidence's claims");
  claims.only(["eat_nonce", "report_data", "iat", "measurements", "identity"]);
  const named = (name: string): Record<string, string> =>
    Object.fromEntries(
      claims
        .field(name)
        .entries()
        .map(([key, value]) => [key, value.text()]),
    );
  return {
    nonce: claims.field("eat_nonce").base64url(),
    reportData: claims.field("report_data").hex(32),
    madeAt: new Date(claims.field("iat").integer() * 1000),
    measurements: named("measurements"),
    identity: named("identity"),
  };
}
