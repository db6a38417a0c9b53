import { decodeJwt } from "jose";

import type { Secret } from "@agentkeys/lib/secret";

/** Whether a session token says that it is good for a frozen account's owner to look at it, and for nothing else. */
export function isRestricted(token: Secret): boolean {
  try {
    return decodeJwt(token.reveal())["restricted"] !== undefined;
  } catch {
    return false;
  }
}
