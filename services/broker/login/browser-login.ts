import type { Login } from "./store.ts";

/**
 * Stands where the thumbprint of a key would, on a sign-in that a browser started for itself. No DPoP proof ever has this thumbprint
 * (RFC 7638: 43 characters): no RPC collects such a sign-in or links by it, and no browser one that a program started.
 */
export const BROWSER_BINDING = "browser";

/** Whether a browser is to be signed in to the account's page, and not a program. */
export function isForBrowser({ dpopThumbprint }: Pick<Login, "dpopThumbprint">): boolean {
  return dpopThumbprint === BROWSER_BINDING;
}
