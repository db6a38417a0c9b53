import { createHash, generateKeyPairSync } from "node:crypto";

import { type Clock, DAY, HOUR } from "@agentkeys/lib/clock";
import { selfSigned } from "@agentkeys/lib/evidence/certificate";
import type { RandomBytes } from "@agentkeys/lib/random";

/** What a worker shows to whoever connects, for as long as it runs. */
export interface TlsIdentity {
  /** For `serve`: TLS 1.3 only, since earlier versions have no exporter that an attestation could be bound to (RFC 9266). */
  tls: { cert: Buffer; key: Buffer; minVersion: "TLSv1.3" };
  /** The public key (SubjectPublicKeyInfo, DER). */
  spki: Buffer;
  /** Its SHA-256: what the claims name, 32 bytes. */
  spkiSha256: Buffer;
}

/** Callers appraise evidence and not the certificate, whose time and names therefore matter little. */
const LIFE = 10 * 365 * DAY;

/**
 * Makes a key (ECDSA P-256) and a certificate that it signs itself. It is made inside at every start and is never written anywhere: nobody
 * outside can have it, and what was attested ends with the process.
 */
export function createTlsIdentity(o: { names: readonly string[]; clock: Clock; random: RandomBytes }): TlsIdentity {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ format: "der", type: "spki" });
  const now = o.clock();
  const { pem } = selfSigned({
    key: privateKey,
    names: o.names,
    subject: "AgentKeys TEE worker",
    notBefore: new Date(now - HOUR),
    notAfter: new Date(now + LIFE),
    random: o.random,
  });
  return {
    tls: {
      cert: Buffer.from(pem),
      key: Buffer.from(privateKey.export({ format: "pem", type: "pkcs8" })),
      minVersion: "TLSv1.3",
    },
    spki,
    spkiSha256: createHash("sha256").update(spki).digest(),
  };
}
