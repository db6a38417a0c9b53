import { Failure } from "@agentkeys/lib/failure";
import { randomId, randomSecret } from "@agentkeys/lib/random";
import { Secret } from "@agentkeys/lib/secret";

import type { Caller } from "../audit/index.ts";
import type { Identity } from "../identity/index.ts";
import { BROWSER_BINDING, collectLogin, type HeldLogin, heldLogin, next } from "../login/index.ts";
import type { SessionRecord } from "../token/index.ts";
import { type BrowserParts, endOf, hashOfCookie } from "./parts.ts";

export interface BrowserSignIn {
  /** The new session's cookie: 256 random bits, of which only the hash is kept. */
  cookie: Secret;
  record: SessionRecord;
  identity: Identity;
}

/**
 * Collects a confirmed sign-in that a browser started for itself: a session of its own, which no token speaks for.
 * @throws Failure LOGIN_*, DPOP_INVALID (a program started it), IDENTITY_SUSPENDED, IDENTITY_UNLINKED, SECOND_IDENTITY_REQUIRED
 */
export async function signInBrowser(
  parts: BrowserParts,
  held: Pick<HeldLogin, "loginId" | "loginSecret">,
  caller: Caller,
): Promise<BrowserSignIn> {
  const { logins, clock, random } = parts;
  const login = await heldLogin(logins, { ...held, dpopThumbprint: BROWSER_BINDING }, "sign-in");
  const status = next(login, "collect", clock());
  if (status instanceof Failure) throw status;
  return collectLogin(parts, login, caller, async (sessions, { identity, account }) => {
    const now = clock();
    const cookie = randomSecret(random);
    const record: SessionRecord = {
      sessionId: randomId(random),
      kind: "browser",
      subject: identity.anchor,
      anchor: identity.anchor,
      identity: identity.omniAccount,
      cookieHash: hashOfCookie(cookie),
      deviceName: login.deviceName,
      sourceAddress: login.sourceAddress,
      signedInAt: now,
      provenAt: now,
      restricted: account.frozenAt !== undefined,
      lastUsedAt: now,
      lastAudience: "",
      createdAt: now,
      expiresAt: endOf(now, now),
    };
    await sessions.insert(record);
    return { cookie: new Secret(cookie), record };
  });
}
