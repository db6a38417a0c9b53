import { afterEach, beforeEach, expect, test } from "vitest";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { randomSecret, systemRandom } from "@agentkeys/lib/random";

import { endOtherSessions, unfreezeAccount, unlinkIdentity } from "../account/index.ts";
import { nameIdentity } from "../identity/index.ts";
import { openTestLogins, type TestLogins } from "../testing/login-parts.ts";
import { changeCookie, openBrowserSession } from "./index.ts";
import { hashOfCookie } from "./parts.ts";

const now = 1_800_000_000_000;
const caller = { sourceAddress: "127.0.0.1", requestId: "test", userAgent: "" };
let logins: TestLogins;
beforeEach(async () => {
  logins = await openTestLogins({ clock: () => now });
});
afterEach(() => logins.close());

test("what was asked for with a cookie is not done once the session has another one, however freshly proven it is by then", async () => {
  const { parts, store } = logins;
  const all = { ...parts, ...store };
  const [first, second] = ["ada@example.com", "ada@work.example"].map((value) =>
    nameIdentity({ type: "email", value }, "agentkeys"),
  );
  const anchor = first!.omniAccount;
  await store.accounts.insert(anchor, now);
  for (const each of [first!, second!]) await store.identities.link(each, anchor, { linkedAt: now, lastUsedAt: now });
  const old = randomSecret(systemRandom);
  await store.sessions.insert({
    ...{ sessionId: "s".repeat(22), kind: "browser", subject: anchor, anchor, identity: anchor },
    ...{ cookieHash: hashOfCookie(old), deviceName: "", sourceAddress: "127.0.0.1", restricted: false },
    ...{ signedInAt: now, provenAt: now, lastAudience: "", createdAt: now, expiresAt: now + 60_000 },
  });
  await store.accounts.freeze(anchor, now);

  // A thief with a copy of the cookie is through the door when the owner proves who they are.
  const thief = (await openBrowserSession(all, old))!;
  const changed = await changeCookie(all, thief.id);
  const attempts = [
    () => unlinkIdentity(all, { identity: second!.omniAccount, session: thief, caller }),
    () => endOtherSessions(all, { session: thief, caller }),
    () => unfreezeAccount(all, { session: thief, caller }),
  ];
  for (const attempt of attempts) {
    const error: unknown = await attempt().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Failure);
    expect((error as Failure).reason).toBe(ErrorReason.SESSION_REVOKED);
  }
  expect(await store.identities.listOf(anchor)).toHaveLength(2);

  const owner = (await openBrowserSession(all, changed.reveal()))!;
  await unlinkIdentity(all, { identity: second!.omniAccount, session: owner, caller });
  expect(await store.identities.listOf(anchor)).toHaveLength(1);
});
