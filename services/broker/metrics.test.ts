import { get } from "node:http";

import { afterEach, beforeEach, expect, test } from "vitest";

import { Secret } from "@agentkeys/lib/secret";

import {
  mailedToken,
  postForm,
  reasonOf,
  signIn,
  startTestBroker,
  type TestBroker,
  type TestOptions,
  walletSession,
} from "./testing/broker.ts";

let broker: TestBroker;
const start = async (options: TestOptions = {}): Promise<void> => {
  const metricsListen = { host: "127.0.0.1", port: 0 };
  broker = await startTestBroker({ ...options, settings: { metricsListen, ...options.settings } });
};
beforeEach(() => start());
afterEach(() => broker.close());

const scrape = async (): Promise<string> => (await fetch(broker.metricsUrl ?? "")).text();

/** What a request that names this host is answered with; `fetch` names none but its own. */
const statusAt = (url: string, host: string): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    get(url, { headers: { host } }, (response) => resolve(response.resume().statusCode)).on("error", reject);
  });

/** The number behind a series, as it stands in a scrape; undefined where there is no such line. */
async function value(series: string): Promise<number | undefined> {
  const line = (await scrape()).split("\n").find((each) => each.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length));
}

const login = "agentkeys.broker.v1.LoginService";

test("calls are counted by RPC and code, pages as one method, and how long they took", async () => {
  await signIn(broker, "ada@example.com");
  await reasonOf(broker.clients().account.whoAmI({}));
  await fetch(`${broker.url}/a-path-that-a-caller-made-up`);
  // A request is over for us when its answer is out, of which its caller may know before.
  const counts = (series: string) => expect.poll(() => value(series), { timeout: 10_000 });
  await counts(`agentkeys_calls_total{method="${login}/StartEmailLogin",code="ok"}`).toBe(1);
  await counts('agentkeys_calls_total{method="agentkeys.broker.v1.AccountService/WhoAmI",code="unauthenticated"}').toBe(
    1,
  );
  await counts('agentkeys_calls_total{method="page",code="ok"}').toBe(2);
  await counts(`agentkeys_call_duration_seconds_count{method="${login}/AwaitLogin"}`).toBe(1);
  expect(await value("agentkeys_open_connections")).toBeGreaterThan(0);
});

test("sign-ins are counted by way and by how far they came", async () => {
  await signIn(broker, "ada@example.com");
  await broker.clients().login.startEmailLogin({ email: "eve@example.com" });
  await postForm(broker, "refuse", mailedToken(broker, "eve@example.com"));
  const counted = ["started", "confirmed", "collected", "refused"].map((outcome) =>
    value(`agentkeys_sign_ins_total{method="email",outcome="${outcome}"}`),
  );
  expect(await Promise.all(counted)).toEqual([2, 1, 1, 1]);
});

test("what the histories tell is counted: tokens minted, and refused", async () => {
  const { clients } = await walletSession(broker, await signIn(broker, "ada@example.com"));
  await clients.broker.mintOidcJwt({});
  await clients.broker.mintOidcJwt({});
  await reasonOf(clients.broker.mintOidcJwt({ audience: "https://evil.example" }));
  expect(await value('agentkeys_events_total{action="oidc.minted",outcome="ok"}')).toBe(2);
  expect(await value('agentkeys_events_total{action="oidc.minted",outcome="AUDIENCE_NOT_ALLOWED"}')).toBe(1);
});

test("mails are counted by kind, those too that the mail server did not take", async () => {
  const person = await signIn(broker, "ada@example.com");
  await broker.clients().login.startEmailLogin({ email: "ada@example.com" });
  // What a mail to another identity of the account is sent for: a row in the outbox.
  broker.sql(`INSERT INTO notice (notice_id, anchor, recipient, recipient_email, kind, subject, source_address, actor, occurred_at, expires_at)
    VALUES ('n', '${person.omniAccount}', '${person.omniAccount}', 'ada@example.com', 'machine', 'm', '', '', 0, ${Number.MAX_SAFE_INTEGER})`);
  await broker.tidy();
  expect(await value('agentkeys_mails_total{kind="sign-in",outcome="sent"}')).toBe(2);
  expect(await value('agentkeys_mails_total{kind="notice",outcome="sent"}')).toBe(1);

  await broker.close();
  // Nobody listens on the discard port.
  await start({ settings: { smtpUrl: new Secret("smtp://127.0.0.1:9") } });
  expect(await reasonOf(broker.clients().login.startEmailLogin({ email: "ada@example.com" }))).toBe("MAIL_NOT_SENT");
  expect(await value('agentkeys_mails_total{kind="sign-in",outcome="failed"}')).toBe(1);
});

test("requests that were too many are counted by limit", async () => {
  await broker.close();
  await start({ allowances: { mailsBySource: { times: 1, seconds: 60 } } });
  const { login: anyone } = broker.clients();
  await anyone.startEmailLogin({ email: "ada@example.com" });
  expect(await reasonOf(anyone.startEmailLogin({ email: "ada@example.com" }))).toBe("RATE_LIMITED");
  expect(await value('agentkeys_limited_total{limit="mailsBySource"}')).toBe(1);
});

test("uses of the store that fail are counted, and what they undid is not", async () => {
  await broker.close();
  await start({ maxStorePages: 120 });
  expect(await value("agentkeys_store_errors_total")).toBe(0);
  broker.sql(`CREATE TABLE filler (bytes BLOB) STRICT;
    CREATE TRIGGER full AFTER INSERT ON audit_event BEGIN INSERT INTO filler VALUES (zeroblob(500000)); END`);
  expect(await reasonOf(broker.clients().login.startEmailLogin({ email: "a@example.com" }))).toBe("STORE_UNAVAILABLE");
  expect(await value("agentkeys_store_errors_total")).toBe(1);
  expect(await value('agentkeys_sign_ins_total{method="email",outcome="started"}')).toBeUndefined();
});

test("nothing in a scrape names a person, a machine or a session, and there is nothing else at that address", async () => {
  const person = await signIn(broker, "ada.lovelace@example.com");
  await walletSession(broker, person);
  const text = await scrape();
  for (const secret of ["ada", "example.com", "127.0.0.1", "test machine", "0x", person.omniAccount]) {
    expect(text).not.toContain(secret);
  }
  const url = broker.metricsUrl ?? "";
  expect((await fetch(url.replace("/metrics", "/"))).status).toBe(404);
  expect((await fetch(url, { method: "POST" })).status).toBe(404);
  expect((await fetch(url, { headers: { origin: "https://evil.example" } })).status).toBe(403);
  // A page that had its name resolved to this machine asks without an Origin.
  expect(await statusAt(url, "evil.example:9090")).toBe(403);
  for (const own of ["127.0.0.1:9090", "localhost", "[::1]:9090"]) expect(await statusAt(url, own)).toBe(200);
  // What the world reaches has none.
  expect((await fetch(`${broker.url}/metrics`)).status).toBe(404);
});

test("without the setting nothing is served", async () => {
  await broker.close();
  broker = await startTestBroker();
  expect(broker.metricsUrl).toBeUndefined();
});
