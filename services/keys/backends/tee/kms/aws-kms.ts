import {
  DecryptCommand,
  GenerateDataKeyCommand,
  KeyEncryptionMechanism,
  KMSClient,
  type KMSClientConfig,
  KMSServiceException,
} from "@aws-sdk/client-kms";

import { type Kms, KmsRefused } from "./kms-sealer.ts";

/**
 * AWS KMS over the network. Region, endpoint and credentials are those of AWS's SDK (`AWS_REGION`, the instance's role): whoever holds
 * these credentials still needs the attestation document that the key's policy asks for.
 */
export function createAwsKms(config: KMSClientConfig): Kms & { close(): void } {
  const client = new KMSClient({ maxAttempts: 3, ...config });
  const recipient = (attestationDocument: Uint8Array) => ({
    KeyEncryptionAlgorithm: KeyEncryptionMechanism.RSAES_OAEP_SHA_256,
    AttestationDocument: attestationDocument,
  });
  return {
    generateDataKey: async ({ keyId, attestationDocument, encryptionContext }) => {
      const answer = await explained(
        client.send(
          new GenerateDataKeyCommand({
            KeyId: keyId,
            KeySpec: "AES_256",
            EncryptionContext: encryptionContext,
            Recipient: recipient(attestationDocument),
          }),
        ),
      );
      return {
        ciphertextBlob: answer.CiphertextBlob,
        ciphertextForRecipient: answer.CiphertextForRecipient,
        plaintext: answer.Plaintext,
        keyId: answer.KeyId,
      };
    },
    decrypt: async ({ keyId, ciphertextBlob, attestationDocument, encryptionContext }) => {
      const answer = await explained(
        client.send(
          new DecryptCommand({
            KeyId: keyId,
            CiphertextBlob: ciphertextBlob,
            EncryptionContext: encryptionContext,
            Recipient: recipient(attestationDocument),
          }),
        ),
      );
      return {
        ciphertextForRecipient: answer.CiphertextForRecipient,
        plaintext: answer.Plaintext,
        keyId: answer.KeyId,
      };
    },
    close: () => client.destroy(),
  };
}

/** The service's own name for the refusal says enough, and nothing that it quotes is repeated. */
async function explained<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const why =
      error instanceof KMSServiceException
        ? `it answered ${error.name}; the key's policy has to allow this code (kms:RecipientAttestation) and this role`
        : "it cannot be reached";
    throw new KmsRefused(why, { cause: error });
  }
}
