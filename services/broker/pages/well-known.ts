import type { Env, Hono } from "hono";

import { discoveryDocument, type SigningKeys } from "../token/index.ts";

export interface WellKnownParts {
  publicUrl: () => string;
  oidcKeys: SigningKeys;
  sessionKeys: SigningKeys;
}

/** Public and the same for everyone; relying parties may keep it for 5 minutes, which the rotation of keys reckons with. */
const headers = { "cache-control": "public, max-age=300", "access-control-allow-origin": "*" };

/** The documents that others verify our tokens with (OpenID Connect Discovery 1.0, RFC 7517). */
export function wellKnown<E extends Env>(app: Hono<E>, { publicUrl, oidcKeys, sessionKeys }: WellKnownParts): void {
  app.get("/.well-known/openid-configuration", (c) => c.json(discoveryDocument(publicUrl()), 200, headers));
  app.get("/.well-known/jwks.json", (c) => c.json(oidcKeys.jwks(), 200, headers));
  app.get("/.well-known/agentkeys-session-jwks.json", (c) => c.json(sessionKeys.jwks(), 200, headers));
}
