import { mediaTypes } from "@agentkeys/lib/evidence/evidence";

import type { NitroDocuments } from "../kms/nitro-document.ts";
import type { EvidenceProvider } from "../provider.ts";

/**
 * Documents of AWS's Nitro hypervisor about an enclave or an instance with NitroTPM. They bring their certificates along. `publicKey`
 * (SubjectPublicKeyInfo, DER) stands in each, for whoever encrypts something to it; the claims name the TLS key as well.
 */
export function awsNitroProvider({
  documents,
  publicKey,
}: {
  documents: NitroDocuments;
  publicKey: Uint8Array;
}): EvidenceProvider {
  return {
    mediaType: mediaTypes["aws-nitro"],
    evidence: async (reportData, nonce) => {
      const fields = { nonce, "user-data": reportData, "public-key": publicKey };
      const evidence = await documents(fields);
      // What a verifier reads is read there; this is for a program that knows one of its options by another name.
      for (const [name, bytes] of Object.entries(fields)) {
        if (!evidence.includes(Buffer.from(bytes))) throw new Error(`the document is without what ${name} named`);
      }
      return { mediaType: mediaTypes["aws-nitro"], evidence, endorsements: [] };
    },
  };
}
