import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { randomSecret } from "@agentkeys/lib/random";
import { Secret } from "@agentkeys/lib/secret";

import { type BrowserParts, hashOfCookie } from "./parts.ts";

/**
 * Gives a session another cookie, and with it other form tokens, once more has been proven than when it got its own: whoever has a copy
 * of the old one is left behind (OWASP ASVS 5, 7.2.4). @throws Failure SESSION_REVOKED
 */
export async function changeCookie(
  { sessions, clock, random }: Pick<BrowserParts, "sessions" | "clock" | "random">,
  sessionId: string,
): Promise<Secret> {
  const cookie = randomSecret(random);
  if (await sessions.changeCookie(sessionId, hashOfCookie(cookie), clock())) return new Secret(cookie);
  throw new Failure(ErrorReason.SESSION_REVOKED, "the session was revoked; sign in again");
}
