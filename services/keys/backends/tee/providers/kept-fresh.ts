import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";

/** What verifiers need besides the evidence, from a file that somebody keeps fresh: read anew for each evidence, believed by nobody here. */
export interface KeptFresh {
  /** The certificates of a PEM file, in DER; none where no file is named. @throws Error */
  certificates: () => Promise<readonly Uint8Array[]>;
  /** The whole file. @throws Error also where none is named */
  collateral: () => Promise<Uint8Array>;
}

export function keptFresh(path: string | undefined): KeptFresh {
  return {
    certificates: async () => (path === undefined ? [] : certificatesIn(await readFile(path, "latin1"))),
    collateral: async () => {
      if (path === undefined) {
        throw new Error("TDX needs AGENTKEYS_TEE_ENDORSEMENTS: a file with the collateral that Intel publishes");
      }
      return await readFile(path);
    },
  };
}

/** @returns each certificate in DER */
export function certificatesIn(pem: string): Uint8Array[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block).raw);
}
