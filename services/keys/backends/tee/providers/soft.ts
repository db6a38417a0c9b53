/**
 * For development only: evidence that no hardware vouches for. Whoever has the issuer's file can say anything in it; a policy takes it
 * only by naming its root, and only where it says that it is for development.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  X509Certificate,
} from "node:crypto";

import { type Clock, DAY } from "@agentkeys/lib/clock";
import { basicConstraints, issue, keyUsage } from "@agentkeys/lib/evidence/certificate";
import { mediaTypes } from "@agentkeys/lib/evidence/evidence";
import { SOFT_EVIDENCE_TYP } from "@agentkeys/lib/evidence/soft";
import type { RandomBytes } from "@agentkeys/lib/random";

import type { EvidenceProvider } from "../provider.ts";

/** A key for evidence, and the certificates above it: its own, then the root's. */
export interface SoftIssuer {
  key: KeyObject;
  certificates: readonly Uint8Array[];
}

const VALID_DAYS = 365;

/** Makes a root, whose key is forgotten at once, and a key under it. */
export function makeSoftIssuer({ clock, random }: { clock: Clock; random: RandomBytes }): SoftIssuer {
  const validity = { notBefore: new Date(clock() - DAY), notAfter: new Date(clock() + VALID_DAYS * DAY), random };
  const [rootKey, key] = [newKey(), newKey()];
  const issuer = { subject: "AgentKeys DEV ONLY root", key: rootKey };
  const root = issue({
    subject: issuer.subject,
    publicKey: createPublicKey(rootKey),
    issuer,
    extensions: [basicConstraints({}), keyUsage("keyCertSign")],
    ...validity,
  });
  const leaf = issue({
    subject: "AgentKeys DEV ONLY worker",
    publicKey: createPublicKey(key),
    issuer,
    extensions: [basicConstraints("end-entity"), keyUsage("digitalSignature")],
    ...validity,
  });
  return { key, certificates: [leaf.der, root.der] };
}

/** The issuer as a JSON file. It holds a private key: mode 0600. */
export function formatSoftIssuer({ key, certificates }: SoftIssuer): string {
  const file = {
    warning: "DEV ONLY: whoever has this file can forge the evidence of a worker",
    key: key.export({ format: "pem", type: "pkcs8" }),
    certificates: certificates.map((der) => Buffer.from(der).toString("base64")),
  };
  return JSON.stringify(file, null, 2) + "\n";
}

/** @throws Error without any of the file's text when it is not one of `formatSoftIssuer`. */
export function parseSoftIssuer(text: string): SoftIssuer {
  try {
    const { key, certificates } = JSON.parse(text) as { key: string; certificates: string[] };
    const chain = certificates.map((one) => new X509Certificate(Buffer.from(one, "base64")));
    const own = createPrivateKey(key);
    if (chain[0]?.checkPrivateKey(own) !== true || chain.length < 2) throw new TypeError("another key");
    return { key: own, certificates: chain.map(({ raw }) => raw) };
  } catch {
    throw new Error("this is no issuer file of soft evidence: make a new one");
  }
}

/** Says of the worker what it is told to. `measurements` and `identity` are names and texts of the developer's own. */
export function softProvider({
  issuer,
  measurements,
  identity,
  clock,
}: {
  issuer: SoftIssuer;
  measurements: Readonly<Record<string, string>>;
  identity: Readonly<Record<string, string>>;
  clock: Clock;
}): EvidenceProvider {
  const x5c = issuer.certificates.map((der) => Buffer.from(der).toString("base64"));
  const header = encode({ alg: "ES256", typ: SOFT_EVIDENCE_TYP, x5c });
  return {
    mediaType: mediaTypes.soft,
    evidence: (reportData, nonce) => {
      const payload = encode({
        eat_nonce: Buffer.from(nonce).toString("base64url"),
        report_data: Buffer.from(reportData).toString("hex"),
        iat: Math.floor(clock() / 1000),
        measurements,
        identity,
      });
      const signed = Buffer.from(`${header}.${payload}`, "latin1");
      const signature = sign("sha256", signed, { key: issuer.key, dsaEncoding: "ieee-p1363" }).toString("base64url");
      const evidence = Buffer.from(JSON.stringify({ payload, protected: header, signature }));
      return Promise.resolve({ mediaType: mediaTypes.soft, evidence, endorsements: [] });
    },
  };
}

function newKey(): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
