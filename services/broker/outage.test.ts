import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { presentSession } from "@agentkeys/lib/session";

import {
  mailedToken,
  type Person,
  postForm,
  reasonOf,
  signIn,
  startTestBroker,
  type TestBroker,
  testWallet,
  walletSession,
} from "./testing/broker.ts";

const MAX_PAGES = 120;

let broker: TestBroker;
let ada: Person;
beforeEach(async () => {
  broker = await startTestBroker({ maxStorePages: MAX_PAGES });
  ada = await signIn(broker, "ada@example.com");
});
afterEach(() => broker.close());

/** From here on whatever writes an event, as every change does, needs more pages than there are. */
function fillDisk(): void {
  broker.sql(`CREATE TABLE filler (bytes BLOB) STRICT;
    CREATE TRIGGER full AFTER INSERT ON audit_event BEGIN
      INSERT INTO filler VALUES (zeroblob(${MAX_PAGES * 4096}));
    END`);
}

const makeRoom = (): void => broker.sql("DROP TRIGGER full");

describe("a full disk", () => {
  test("is STORE_UNAVAILABLE with a time to wait, and the log says that it is full", async () => {
    const { token } = await signIn(broker, "bob@example.com", { bound: false });
    fillDisk();
    const response = await fetch(`${broker.url}/v1/wallet/link`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify({ address: testWallet().address }),
    });
    expect(response.status).toBe(503);
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await response.text()).toContain("STORE_UNAVAILABLE");
    expect(broker.logged.join()).toContain("database or disk is full");
    expect(broker.rows("SELECT * FROM wallet_link")).toEqual([]);
  });

  test("sends no mail for a sign-in that could not be kept", async () => {
    fillDisk();
    expect(await reasonOf(broker.clients().login.startEmailLogin({ email: "bob@example.com" }))).toBe(
      "STORE_UNAVAILABLE",
    );
    expect(broker.devMailbox?.list().map(({ to }) => to)).toEqual(["ada@example.com"]);
    expect(broker.rows("SELECT login_id FROM login WHERE identity_value LIKE 'bob%'")).toEqual([]);
  });

  test("spends no challenge and no sign-in: both go on when there is room again", async () => {
    const wallet = testWallet();
    await ada.clients.broker.linkWallet({ address: wallet.address });
    const { requestId, siweMessage } = await ada.clients.broker.startWalletAuth({ address: wallet.address });
    const answer = { requestId, signature: await wallet.sign(siweMessage) };
    const { broker: anyone } = broker.clients(presentSession({ key: ada.key! }));
    const started = await broker.clients().login.startEmailLogin({ email: "bob@example.com" });
    await postForm(broker, "confirm", mailedToken(broker, "bob@example.com"));

    fillDisk();
    const before = broker.rows("SELECT count(*) FROM session")[0];
    const collect = { loginId: started.loginId, loginSecret: started.loginSecret };
    expect(await reasonOf(anyone.verifyWallet(answer))).toBe("STORE_UNAVAILABLE");
    expect(await reasonOf(broker.clients().login.awaitLogin(collect))).toBe("STORE_UNAVAILABLE");
    expect(broker.rows("SELECT count(*) FROM session")[0]).toBe(before);

    makeRoom();
    expect((await anyone.verifyWallet(answer)).walletAddress).toBe(wallet.address);
    expect((await broker.clients().login.awaitLogin(collect)).identity?.value).toBe("bob@example.com");
  });

  test("gives out no token that nobody recorded", async () => {
    const { clients } = await walletSession(broker, ada);
    fillDisk();
    expect(await reasonOf(clients.broker.mintOidcJwt({}))).toBe("STORE_UNAVAILABLE");
    makeRoom();
    await clients.broker.mintOidcJwt({});
    expect(broker.rows("SELECT outcome FROM audit_event WHERE action = 'oidc.minted'")).toEqual(["ok"]);
  });

  test("stops nobody from reading: sessions are still checked, keys still served", async () => {
    fillDisk();
    expect((await ada.clients.account.whoAmI({})).omniAccount).toBe(ada.omniAccount);
    expect((await fetch(`${broker.url}/.well-known/jwks.json`)).status).toBe(200);
  });
});
