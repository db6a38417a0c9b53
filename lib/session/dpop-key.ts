import { createHash, type webcrypto } from "node:crypto";

import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from "jose";

import type { Clock } from "../clock.ts";
import { type RandomBytes, randomId } from "../random.ts";
import { Secret } from "../secret.ts";

/** The `typ` of a DPoP proof (RFC 9449 section 4.2). */
export const DPOP_TYP = "dpop+jwt";
/** The one algorithm of our proofs. */
export const DPOP_ALGORITHM = "ES256";

/** A device key that proves possession of a session (RFC 9449). P-256; it is no wallet key. */
export interface DpopKey {
  /** RFC 7638 thumbprint of the public key: the `jkt` that tokens are bound to. */
  thumbprint: string;
  /** Makes a proof for one request. `url` is taken without query and fragment; `accessToken` is the token sent along. */
  prove(request: { method: string; url: string; accessToken?: string }): Promise<string>;
}

/** Makes a new device key: its private JWK, to be kept and given to `createDpopKey`. */
export async function generateDpopKey(): Promise<Secret<JWK>> {
  const { privateKey } = await generateKeyPair(DPOP_ALGORITHM, { extractable: true });
  return new Secret(await exportJWK(privateKey));
}

/** Opens a kept device key. Throws a TypeError when the JWK is not a private P-256 key. */
export async function createDpopKey(
  jwk: Secret<JWK>,
  { clock, random }: { clock: Clock; random: RandomBytes },
): Promise<DpopKey> {
  const { kty, crv, x, y, d } = jwk.reveal();
  if (kty !== "EC" || crv !== "P-256" || x === undefined || y === undefined || d === undefined) {
    throw new TypeError("the device key is not a private P-256 key");
  }
  const publicJwk = { kty, crv, x, y };
  const key = (await importJWK({ ...publicJwk, d }, DPOP_ALGORITHM)) as webcrypto.CryptoKey;
  const thumbprint = await calculateJwkThumbprint(publicJwk, "sha256");
  return {
    thumbprint,
    prove: ({ method, url, accessToken }) => {
      const target = new URL(url);
      const claims = {
        jti: randomId(random),
        htm: method,
        htu: target.origin + target.pathname,
        iat: Math.floor(clock() / 1000),
        ...(accessToken === undefined ? {} : { ath: accessTokenHash(accessToken) }),
      };
      return new SignJWT(claims).setProtectedHeader({ typ: DPOP_TYP, alg: DPOP_ALGORITHM, jwk: publicJwk }).sign(key);
    },
  };
}

/** The `ath` of a proof: base64url of the SHA-256 of the access token. */
export function accessTokenHash(accessToken: string): string {
  return createHash("sha256").update(accessToken, "ascii").digest("base64url");
}
