import type { Interceptor } from "@connectrpc/connect";

import type { Secret } from "../secret.ts";
import type { DpopKey } from "./dpop-key.ts";

/**
 * A client's interceptor that sends the session token and a fresh DPoP proof with every call. With a key and no token it
 * sends the proof alone, which binds a sign-in to the key; with a token and no key it sends a plain bearer token.
 */
export function presentSession({ key, token }: { key?: DpopKey; token?: () => Secret | undefined }): Interceptor {
  return (next) => async (req) => {
    const accessToken = token?.()?.reveal();
    if (accessToken !== undefined) {
      req.header.set("authorization", `${key === undefined ? "Bearer" : "DPoP"} ${accessToken}`);
    }
    if (key !== undefined) {
      const request = { method: req.requestMethod, url: req.url };
      req.header.set("dpop", await key.prove(accessToken === undefined ? request : { ...request, accessToken }));
    }
    return next(req);
  };
}
