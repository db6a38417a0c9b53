import { decodeJwt } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { DAY, HOUR, MINUTE } from "@agentkeys/lib/clock";
import { Secret } from "@agentkeys/lib/secret";
import { presentSession } from "@agentkeys/lib/session";

import {
  mailedToken,
  postForm,
  reasonOf,
  signIn,
  startTestBroker,
  type TestBroker,
  walletSession,
} from "../testing/broker.ts";

let broker: TestBroker;
beforeEach(async () => {
  broker = await startTestBroker();
});
afterEach(() => broker.close());

const idOf = (token: string): string => decodeJwt(token).jti ?? "";

describe("RenewSession", () => {
  test("says until when there will be another one: 30 days from the sign-in, however often it was renewed", async () => {
    const ada = await signIn(broker, "ada@example.com");
    const signedIn = broker.clock();
    broker.pass(11 * HOUR);
    const first = await ada.clients.login.renewSession({});
    const renewed = broker.clients(presentSession({ key: ada.key!, token: () => new Secret(first.sessionJwt) }));
    broker.pass(11 * HOUR);
    const second = await renewed.login.renewSession({});
    for (const { renewableUntil } of [first, second]) {
      const until = Number(renewableUntil?.seconds) * 1000;
      expect(Math.abs(until - signedIn - 30 * DAY)).toBeLessThan(MINUTE);
    }
  });

  test("ends 30 days after the sign-in, also for a session that still works", async () => {
    const ada = await signIn(broker, "ada@example.com");
    broker.sql(`UPDATE session SET signed_in_at = signed_in_at - ${30 * DAY}`);
    expect(await reasonOf(ada.clients.login.renewSession({}))).toBe("RENEWAL_ENDED");
    await ada.clients.account.whoAmI({});
  });

  test("is for identity sessions", async () => {
    const { clients } = await walletSession(broker, await signIn(broker, "ada@example.com"));
    expect(await reasonOf(clients.login.renewSession({}))).toBe("SESSION_KIND");
    expect(await reasonOf(broker.clients().login.renewSession({}))).toBe("SESSION_REQUIRED");
  });
});

describe("ListRevokedSessions", () => {
  const listed = async (): Promise<string[]> => (await broker.clients().login.listRevokedSessions({})).sessionIds;

  test("names what was revoked or renewed, until its token has expired anyway", async () => {
    expect(await listed()).toEqual([]);
    const [ada, bob] = [await signIn(broker, "ada@example.com"), await signIn(broker, "bob@example.com")];
    await ada.clients.login.renewSession({});
    await bob.clients.account.revokeSession({});
    expect((await listed()).sort()).toEqual([idOf(ada.token), idOf(bob.token)].sort());
    broker.pass(13 * HOUR);
    expect(await listed()).toEqual([]);
  });

  test("is read by anyone with a plain GET, and says nothing of whose they are", async () => {
    const ada = await signIn(broker, "ada@example.com");
    await ada.clients.account.revokeSession({});
    const response = await fetch(`${broker.url}/v1/auth/revoked-sessions`);
    expect(await response.json()).toEqual({ session_ids: [idOf(ada.token)] });
  });
});

test("a machine's name is kept as one line of visible text, wherever it is shown later", async () => {
  const { login } = broker.clients();
  const email = "ada@example.com";
  const { loginId, loginSecret } = await login.startEmailLogin({ email, deviceName: " a\u202eb\u2028c " });
  await postForm(broker, "confirm", mailedToken(broker, email));
  const { sessionJwt } = await login.awaitLogin({ loginId, loginSecret });
  const { account } = broker.clients(presentSession({ token: () => new Secret(sessionJwt) }));
  expect((await account.listSessions({})).sessions.map(({ deviceName }) => deviceName)).toEqual(["a b c"]);
});
