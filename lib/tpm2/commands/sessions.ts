import { algorithm, commandCode, handle } from "../constants.ts";
import { permanent, type TpmSequence } from "../client.ts";
import { type HashName, hashNumber, MAX_DIGEST } from "../hash.ts";
import { TpmWriter } from "../marshal.ts";
import { NONCE_BYTES, sessionKey, type TpmSession } from "../session.ts";
import { shareSecret } from "../shared-secret.ts";
import type { TpmObject } from "./objects.ts";

const AES_BITS = 128;
const kinds = { hmac: 0x00, policy: 0x01 } as const;

/**
 * TPM2_StartAuthSession, salted: whoever listens or sits in between and is not the TPM that holds the private part of `saltKey` can
 * neither read the encrypted parameters nor forge an answer.
 */
export async function startSession(
  tpm: TpmSequence,
  kind: TpmSession["kind"],
  saltKey: TpmObject,
  hash: HashName = "sha256",
): Promise<TpmSession> {
  const nonceCaller = tpm.random(NONCE_BYTES);
  const salt = shareSecret(saltKey.public, "SECRET", tpm.random);
  try {
    const answer = await tpm.execute({
      code: commandCode.startAuthSession,
      entities: [saltKey, permanent(handle.null)],
      parameters: new TpmWriter()
        .sized(nonceCaller)
        .sized(salt.encrypted)
        .u8(kinds[kind])
        .u16(algorithm.aes)
        .u16(AES_BITS)
        .u16(algorithm.cfb)
        .u16(hashNumber(hash))
        .done(),
      makesHandle: true,
    });
    const nonceTpm = answer.parameters.sized(MAX_DIGEST);
    answer.parameters.end();
    const key = sessionKey(hash, salt.secret, nonceTpm, nonceCaller);
    return { handle: answer.handle, kind, hash, nonceTpm, key };
  } finally {
    salt.secret.fill(0);
  }
}
