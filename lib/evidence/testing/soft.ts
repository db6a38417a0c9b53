import { type KeyObject, sign } from "node:crypto";

import type { RandomBytes } from "../../random.ts";
import { type Evidence, mediaTypes } from "../evidence.ts";
import { SOFT_EVIDENCE_TYP } from "../soft.ts";
import { createTestRoot, type Validity } from "./authority.ts";

/** What a worker without hardware says of itself. */
export interface SoftClaims {
  nonce: Uint8Array;
  /** 32 bytes. */
  reportData: Uint8Array;
  madeAt: Date;
  measurements: Readonly<Record<string, string>>;
  identity: Readonly<Record<string, string>>;
}

/** Who signs it: a key on P-256, its certificate, and the root's. */
export interface SoftSigner {
  key: KeyObject;
  certificates: readonly Buffer[];
}

/** Makes a root and a signer under it. The root's fingerprint is to be pinned. */
export function createSoftSigner(options: { random: RandomBytes; validity: Validity }): SoftSigner {
  const root = createTestRoot("test soft root", { keys: "P-256", ...options });
  const { key, der } = root.endEntity("test worker", { keys: "P-256" });
  return { key, certificates: [der, ...root.chain] };
}

/** Issues evidence of the type `soft`. Further members replace or join those of header and claims. */
export function issueSoftEvidence(
  { nonce, reportData, madeAt, measurements, identity }: SoftClaims,
  { key, certificates }: SoftSigner,
  forgery: { header?: object; claims?: object } = {},
): Evidence {
  const x5c = certificates.map((certificate) => certificate.toString("base64"));
  const header = encode({ alg: "ES256", typ: SOFT_EVIDENCE_TYP, x5c, ...forgery.header });
  const payload = encode({
    eat_nonce: Buffer.from(nonce).toString("base64url"),
    report_data: Buffer.from(reportData).toString("hex"),
    iat: Math.floor(madeAt.getTime() / 1000),
    measurements,
    identity,
    ...forgery.claims,
  });
  const signature = sign("sha256", Buffer.from(`${header}.${payload}`), { key, dsaEncoding: "ieee-p1363" });
  const jws = { payload, protected: header, signature: signature.toString("base64url") };
  return { mediaType: mediaTypes.soft, evidence: Buffer.from(JSON.stringify(jws)), endorsements: [] };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
