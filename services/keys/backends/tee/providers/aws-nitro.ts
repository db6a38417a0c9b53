import { mediaTypes } from "@agentkeys/lib/evidence/evidence";

import { nitroDocument } from "../kms/nitro-document.ts";
import type { EvidenceProvider } from "../provider.ts";

/**
 * Documents of AWS's Nitro hypervisor about an enclave or an instance with NitroTPM, by a program that gets them. They bring their
 * certificates along. `publicKey` (SubjectPublicKeyInfo, DER) stands in each, for whoever encrypts something to it; the claims name the TLS key as well.
 */
export function awsNitroProvider({ program, publicKey }: { program: string; publicKey: Uint8Array }): EvidenceProvider {
  return {
    mediaType: mediaTypes["aws-nitro"],
    evidence: async (reportData, nonce) => {
      const evidence = await nitroDocument(program, { nonce, "user-data": reportData, "public-key": publicKey });
      // What a verifier reads is read there; this is for a program that knows one of its options by another name.
      for (const [name, bytes] of Object.entries({ nonce, "user-data": reportData, "public-key": publicKey })) {
        if (!evidence.includes(Buffer.from(bytes)))
          throw new Error(`${program} gave a document without what --${name} named`);
      }
      return { mediaType: mediaTypes["aws-nitro"], evidence, endorsements: [] };
    },
  };
}
