import { SignJWT } from "jose";

import type { OmniAccount } from "@agentkeys/lib/account";
import { type Clock, MINUTE } from "@agentkeys/lib/clock";
import type { EvmAddress } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { type RandomBytes, randomId } from "@agentkeys/lib/random";
import { Secret } from "@agentkeys/lib/secret";

import { ALGORITHM, type SigningKeys } from "./signing-keys.ts";

/** AWS STS's own client id. */
export const DEFAULT_AUDIENCE = "sts.amazonaws.com";

/** How long an OIDC JWT lives. */
export const OIDC_LIFE_MS = 5 * MINUTE;

export interface OidcMinter {
  /**
   * An OIDC ID token about a wallet. Its claim `https://aws.amazon.com/tags` becomes the session tags that IAM policies read as
   * `aws:PrincipalTag/…`. @throws Failure AUDIENCE_NOT_ALLOWED
   */
  mint(
    wallet: { address: EvmAddress; omniAccount: OmniAccount },
    audience: string,
  ): Promise<{ jwt: Secret; expiresAt: number }>;
}

export interface OidcMinterOptions {
  issuer: () => string;
  keys: SigningKeys;
  audiences: readonly string[];
  clock: Clock;
  random: RandomBytes;
}

export function createOidcMinter({ issuer, keys, audiences, clock, random }: OidcMinterOptions): OidcMinter {
  return {
    mint: async ({ address, omniAccount }, audience) => {
      if (!audiences.includes(audience)) {
        throw new Failure(
          ErrorReason.AUDIENCE_NOT_ALLOWED,
          `audience is not one that this broker makes tokens for; it allows ${audiences.join(", ")}`,
        );
      }
      const { kid, privateKey } = keys.current();
      const now = Math.floor(clock() / 1000);
      const expires = now + OIDC_LIFE_MS / 1000;
      const tags = { agentkeys_user_wallet: address, agentkeys_actor_omni: omniAccount };
      const jwt = await new SignJWT({
        ...tags,
        "https://aws.amazon.com/tags": {
          principal_tags: Object.fromEntries(Object.entries(tags).map(([name, value]) => [name, [value]])),
          transitive_tag_keys: Object.keys(tags),
        },
      })
        .setProtectedHeader({ alg: ALGORITHM, typ: "JWT", kid })
        .setIssuer(issuer())
        .setSubject(`agentkeys:wallet:${address}`)
        .setAudience(audience)
        .setIssuedAt(now)
        .setNotBefore(now)
        .setExpirationTime(expires)
        .setJti(randomId(random))
        .sign(privateKey);
      return { jwt: new Secret(jwt), expiresAt: expires * 1000 };
    },
  };
}

/** The discovery document (OpenID Connect Discovery 1.0 section 3), with every member that AWS looks for. */
export function discoveryDocument(issuer: string): Record<string, unknown> {
  return {
    issuer,
    jwks_uri: `${issuer}/.well-known/jwks.json`,
    // We hand out no tokens through a browser; OpenID Connect and AWS want the member all the same.
    authorization_endpoint: `${issuer}/login`,
    response_types_supported: ["id_token"],
    subject_types_supported: ["public"],
    id_token_signing_alg_values_supported: [ALGORITHM],
    scopes_supported: ["openid"],
    claims_supported: [
      "iss",
      "sub",
      "aud",
      "iat",
      "nbf",
      "exp",
      "jti",
      "agentkeys_user_wallet",
      "agentkeys_actor_omni",
      "https://aws.amazon.com/tags",
    ],
  };
}
