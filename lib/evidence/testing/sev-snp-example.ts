import type { KeyObject } from "node:crypto";

import { systemRandom } from "../../random.ts";
import type { SnpTcb } from "../sev-snp/tcb.ts";
import type { SnpPins } from "../sev-snp/verify.ts";
import { readCertificate } from "../x509.ts";
import { createTestRoot, type TestAuthority } from "./authority.ts";
import { issueSnpReport, type SnpClaims, snpExtensions } from "./sev-snp.ts";

/** A guest on a Genoa in good order under a test root, and what would be pinned of it: a test changes what it is about. */
export interface SnpExample {
  ark: TestAuthority;
  ask: TestAuthority;
  /** The processor's certificate, ASK and ARK. */
  certificates: readonly Buffer[];
  claims: SnpClaims;
  pins: SnpPins;
  report: (changes?: Partial<SnpClaims>, spoil?: (report: Buffer) => void) => Buffer;
  /** Another processor, and its certificates. */
  platform: (product: string, owner: SnpOwner, tcb: SnpTcb, by?: TestAuthority) => SnpPlatform;
}

export type SnpOwner = Parameters<typeof snpExtensions>[2];

export interface SnpPlatform {
  key: KeyObject;
  certificates: readonly Buffer[];
}

/** The guest's report data is `reportData` and 32 zeros. */
export function createSnpExample(at: Date, reportData: Buffer): SnpExample {
  const days = (n: number): Date => new Date(at.getTime() + n * 864e5);
  const making = { random: systemRandom, validity: { notBefore: days(-100), notAfter: days(100) } };
  const ark = createTestRoot("test ARK", making);
  const ask = ark.authority("test ASK", { pathLength: 0 });
  const tcb: SnpTcb = { fmc: 0, bootloader: 10, tee: 1, snp: 23, microcode: 200 };
  const claims: SnpClaims = {
    version: 5,
    policy: 0x30000n,
    vmpl: 0,
    platformInfo: 0x25n,
    signedBy: "VCEK",
    authorKeyEnabled: false,
    reportData: Buffer.concat([reportData, Buffer.alloc(32)]),
    measurement: Buffer.alloc(48, 3),
    hostData: Buffer.alloc(32, 4),
    idKeyDigest: Buffer.alloc(48, 5),
    authorKeyDigest: Buffer.alloc(48, 6),
    tcb,
    cpu: { family: 0x19, model: 0x11 },
    chipId: Buffer.alloc(64, 7),
  };
  const platform: SnpExample["platform"] = (product, owner, versions, by = ask) => {
    const { key, der } = by.endEntity("SEV-VCEK", { extensions: snpExtensions(product, versions, owner) });
    return { key, certificates: [der, ...by.chain] };
  };
  const genoa = platform("Genoa-B1", { chipId: claims.chipId }, tcb);
  return {
    ark,
    ask,
    certificates: genoa.certificates,
    claims,
    pins: {
      roots: [readCertificate(ark.der).fingerprint],
      measurements: ["03".repeat(48)],
      identity: [{ name: "chip_id", values: ["07".repeat(64)] }],
      minTcb: tcb,
      vmpl: 0,
      guestMay: ["smt"],
      platformMust: ["alias_check"],
      revocation: { by: "authorities", authorities: [readCertificate(ask.der).fingerprint] },
      acceptKnownBroken: [],
    },
    report: (changes = {}, spoil) => issueSnpReport({ ...claims, ...changes }, "Genoa", genoa.key, spoil),
    platform,
  };
}
