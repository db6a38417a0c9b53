import { systemRandom } from "../../random.ts";
import type { NitroPins } from "../nitro.ts";
import { readCertificate } from "../x509.ts";
import { createTestRoot, type TestAuthority } from "./authority.ts";
import { issueNitroDocument, type NitroClaims, type NitroForgery, type NitroSigner } from "./nitro.ts";

/** An enclave in good order under a test root, and what would be pinned of it: a test changes what it is about. */
export interface NitroExample {
  root: TestAuthority;
  zonal: TestAuthority;
  signer: NitroSigner;
  claims: NitroClaims;
  pins: NitroPins;
  document: (changes?: Partial<NitroClaims>, forgery?: NitroForgery, by?: NitroSigner) => Buffer;
}

/** PCRs are filled with their number plus 16. */
export function createNitroExample(
  at: Date,
  { nonce, reportData }: { nonce: Buffer; reportData: Buffer },
): NitroExample {
  const root = createTestRoot("test nitro root", {
    random: systemRandom,
    validity: { notBefore: minutesFrom(at, -600), notAfter: minutesFrom(at, 600) },
  });
  const zonal = root.authority("test zonal", { pathLength: 1 });
  const signer = nitroSignerUnder(zonal.authority("test instance", { pathLength: 0 }), at);
  const claims: NitroClaims = {
    moduleId: "i-0123-enc0",
    madeAt: at,
    source: "enclave",
    pcrs: new Map([0, 1, 2, 3, 4, 8].map((index) => [index, Buffer.alloc(48, index + 16)])),
    publicKey: Buffer.from("a public key"),
    userData: reportData,
    nonce,
  };
  const hex = (fill: number): string => Buffer.alloc(48, fill).toString("hex");
  return {
    root,
    zonal,
    signer,
    claims,
    pins: {
      source: "enclave",
      roots: [readCertificate(root.der).fingerprint],
      code: [{ name: "pcr0", values: [hex(99), hex(16)] }],
      identity: [{ name: "pcr3", values: [hex(19)] }],
      maxAgeMs: 60_000,
      clockSkewMs: 5_000,
    },
    document: (changes = {}, forgery = {}, by = signer) => issueNitroDocument({ ...claims, ...changes }, by, forgery),
  };
}

/** A signer of documents whose certificate is valid for 90 minutes before and after `at`. */
export function nitroSignerUnder(authority: TestAuthority, at: Date): NitroSigner {
  const validity = { notBefore: minutesFrom(at, -90), notAfter: minutesFrom(at, 90) };
  return { ...authority.endEntity("i-0123-enc0", { validity }), chain: authority.chain };
}

function minutesFrom(at: Date, minutes: number): Date {
  return new Date(at.getTime() + minutes * 60_000);
}
