import { readFileSync } from "node:fs";
import { get } from "node:http";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { MINUTE } from "@agentkeys/lib/clock";
import { presentSession } from "@agentkeys/lib/session";

import {
  mailedToken,
  postForm,
  reasonOf,
  signIn,
  startTestBroker,
  type TestBroker,
  testKey,
} from "./testing/broker.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker.close());

let count = 0;
const someone = (): string => `person${++count}@example.com`;

describe("the mailed link", () => {
  test("opens a page that shows the code of the terminal, the machine, from where and when", async () => {
    const email = someone();
    const { userCode } = await broker.clients().login.startEmailLogin({ email, deviceName: "laptop-7" });
    const response = await postForm(broker, "review", mailedToken(broker, email));
    const text = await response.text();
    expect(response.status).toBe(200);
    for (const shown of [userCode, email, "laptop-7", "127.0.0.1"]) expect(text).toContain(shown);
    expect(userCode).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
  });

  test("changes nothing when it is opened, fetched with HEAD, or looked at, however often", async () => {
    const email = someone();
    const { loginId, loginSecret } = await broker.clients().login.startEmailLogin({ email });
    const token = mailedToken(broker, email);
    for (const path of ["/login", "/login/confirm", "/login/refuse", `/login/confirm?token=${token}`]) {
      for (const method of ["GET", "HEAD"]) await fetch(broker.url + path, { method, redirect: "manual" });
    }
    for (let i = 0; i < 3; i++) await postForm(broker, "review", token);
    const waiting = broker.clients().login.awaitLogin({ loginId, loginSecret }, { timeoutMs: 1500 });
    expect(await reasonOf(waiting)).toBe("LOGIN_PENDING");
    expect((await postForm(broker, "confirm", token)).status).toBe(200);
  });

  test("works once, and not after 15 minutes", async () => {
    const late = await startTestBroker();
    try {
      await signIn(late, "ada@example.com");
      expect((await postForm(late, "confirm", mailedToken(late, "ada@example.com"))).status).toBe(410);
      await late.clients().login.startEmailLogin({ email: "bob@example.com" });
      late.pass(15 * MINUTE + 1000);
      expect((await postForm(late, "confirm", mailedToken(late, "bob@example.com"))).status).toBe(410);
    } finally {
      await late.close();
    }
  });

  test("is confirmed by one of many presses at once", async () => {
    const email = someone();
    await broker.clients().login.startEmailLogin({ email });
    const token = mailedToken(broker, email);
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => postForm(broker, "confirm", token)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  });

  test("can be refused: then the program that waits is told so, and the link is dead", async () => {
    const email = someone();
    const { loginId, loginSecret } = await broker.clients().login.startEmailLogin({ email });
    const waiting = reasonOf(broker.clients().login.awaitLogin({ loginId, loginSecret }));
    const token = mailedToken(broker, email);
    expect((await postForm(broker, "refuse", token)).status).toBe(200);
    expect(await waiting).toBe("LOGIN_REFUSED");
    expect((await postForm(broker, "confirm", token)).status).toBe(410);
  });

  test("is not confirmed by a form on somebody else's page", async () => {
    const email = someone();
    await broker.clients().login.startEmailLogin({ email });
    const body = new URLSearchParams({ token: mailedToken(broker, email) });
    for (const headers of [
      { "sec-fetch-site": "cross-site" },
      { origin: "https://evil.example" },
      { origin: "null" },
    ]) {
      const response = await fetch(`${broker.url}/login/confirm`, { method: "POST", body, headers });
      expect(response.status).toBe(403);
    }
    expect((await postForm(broker, "confirm", body.get("token") ?? "")).status).toBe(200);
  });
});

describe("collecting the session", () => {
  test("works once, for the holder of the secret only", async () => {
    const email = someone();
    const { login } = broker.clients();
    const { loginId, loginSecret } = await login.startEmailLogin({ email });
    await postForm(broker, "confirm", mailedToken(broker, email));
    expect(await reasonOf(login.awaitLogin({ loginId, loginSecret: "A".repeat(43) }))).toBe("LOGIN_NOT_FOUND");
    const answers = await Promise.allSettled([1, 2, 3, 4].map(() => login.awaitLogin({ loginId, loginSecret })));
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await reasonOf(login.awaitLogin({ loginId, loginSecret }))).toBe("LOGIN_NOT_FOUND");
  });

  test("needs the key that the sign-in was started with", async () => {
    const email = someone();
    const key = await testKey(broker.clock);
    const starter = broker.clients(presentSession({ key })).login;
    const { loginId, loginSecret } = await starter.startEmailLogin({ email });
    await postForm(broker, "confirm", mailedToken(broker, email));
    expect(await reasonOf(broker.clients().login.awaitLogin({ loginId, loginSecret }))).toBe("DPOP_INVALID");
    const thief = broker.clients(presentSession({ key: await testKey(broker.clock) })).login;
    expect(await reasonOf(thief.awaitLogin({ loginId, loginSecret }))).toBe("DPOP_INVALID");
    await starter.awaitLogin({ loginId, loginSecret });
  });

  test("of a sign-in that was started without a key takes no key later", async () => {
    const email = someone();
    const { loginId, loginSecret } = await broker.clients().login.startEmailLogin({ email });
    await postForm(broker, "confirm", mailedToken(broker, email));
    const withKey = broker.clients(presentSession({ key: await testKey(broker.clock) })).login;
    const collecting = withKey.awaitLogin({ loginId, loginSecret });
    await expect(collecting).rejects.toThrow("started without a DPoP proof");
    await broker.clients().login.awaitLogin({ loginId, loginSecret });
  });

  test("gives way before its caller's own deadline", async () => {
    const { loginId, loginSecret } = await broker.clients().login.startEmailLogin({ email: someone() });
    const { login } = broker.clients();
    for (const timeoutMs of [1100, 900, 300]) {
      expect(await reasonOf(login.awaitLogin({ loginId, loginSecret }, { timeoutMs }))).toBe("LOGIN_PENDING");
    }
  });

  test("waits for the press of the button", async () => {
    const email = someone();
    const { login } = broker.clients();
    const { loginId, loginSecret } = await login.startEmailLogin({ email });
    const waiting = login.awaitLogin({ loginId, loginSecret });
    await postForm(broker, "confirm", mailedToken(broker, email));
    expect((await waiting).identity?.value).toBe(email);
  });

  test("does not hold up a broker that stops", async () => {
    const stopping = await startTestBroker();
    const { login } = stopping.clients();
    const { loginId, loginSecret } = await login.startEmailLogin({ email: "ada@example.com" });
    const waiting = reasonOf(login.awaitLogin({ loginId, loginSecret }));
    // A second call shows that the first has reached the broker.
    await login.listRevokedSessions({});
    await stopping.close();
    expect(["LOGIN_PENDING", "SHUTTING_DOWN"]).toContain(await waiting);
  });
});

describe("limits", () => {
  test("a link that is right works also where many wrong ones were tried", async () => {
    const tight = await startTestBroker({ allowances: { wrongLinks: { times: 1, seconds: 60 } } });
    try {
      await tight.clients().login.startEmailLogin({ email: "ada@example.com" });
      for (const letter of ["A", "B", "C"]) await postForm(tight, "confirm", letter.repeat(43));
      expect((await postForm(tight, "confirm", mailedToken(tight, "ada@example.com"))).status).toBe(200);
    } finally {
      await tight.close();
    }
  });

  test("guessing links is limited", async () => {
    const tight = await startTestBroker({ allowances: { wrongLinks: { times: 2, seconds: 60 } } });
    try {
      const statuses: number[] = [];
      for (const letter of ["A", "B", "C"]) statuses.push((await postForm(tight, "confirm", letter.repeat(43))).status);
      expect(statuses).toEqual([404, 404, 429]);
    } finally {
      await tight.close();
    }
  });
});

describe("a broker in development", () => {
  test("shows its mailbox and its pages to no page that had its own name resolved to this machine", async () => {
    const { hostname, port } = new URL(broker.url);
    for (const path of ["/dev/mailbox", "/login", "/"]) {
      const status = await new Promise((resolve, reject) => {
        get({ hostname, port, path, headers: { host: `evil.example:${port}` } }, (response) => {
          response.resume();
          resolve(response.statusCode);
        }).on("error", reject);
      });
      expect(status).toBe(403);
    }
  });

  test("answers at once when many wait for the same sign-in", async () => {
    const { login } = broker.clients();
    const email = someone();
    const { loginId, loginSecret } = await login.startEmailLogin({ email });
    const waiting = Array.from({ length: 10 }, () => login.awaitLogin({ loginId, loginSecret }));
    const first = await Promise.race(waiting.map((call) => reasonOf(call)));
    expect(first).toBe("LOGIN_PENDING");
    await postForm(broker, "refuse", mailedToken(broker, email));
    await Promise.allSettled(waiting);
  });
});

test("who has an account cannot be found out: a mailbox that has none is answered alike", async () => {
  const [known, unknown] = [someone(), someone()];
  await signIn(broker, known);
  const { login } = broker.clients();
  const shapes = [];
  for (const email of [known, unknown]) {
    const { loginId, loginSecret, userCode } = await login.startEmailLogin({ email });
    const page = await (await postForm(broker, "review", mailedToken(broker, email))).text();
    const alike = page
      .replaceAll(email, "")
      .replaceAll(userCode, "")
      .replace(/[\w-]{43}|<time.*?<\/time>/g, "");
    shapes.push({ alike, lengths: [loginId.length, loginSecret.length, userCode.length] });
  }
  expect(shapes[0]).toEqual(shapes[1]);
});

describe("secrets", () => {
  test("of a sign-in stand neither in the store nor in the log", async () => {
    const own = await startTestBroker();
    const email = "canary@example.com";
    const { loginId, loginSecret } = await own.clients().login.startEmailLogin({ email });
    const token = mailedToken(own, email);
    await postForm(own, "confirm", token);
    const { sessionJwt } = await own.clients().login.awaitLogin({ loginId, loginSecret });
    const files = ["", "-wal"].map((suffix) => readFileSync(own.settings.store + suffix, "latin1")).join("");
    const log = own.logged.filter((line) => !line.includes("DEVELOPMENT mailbox")).join("");
    for (const secret of [loginSecret, token, sessionJwt]) {
      expect(files).not.toContain(secret);
      expect(log).not.toContain(secret);
    }
    expect(files).toContain(email);
    await own.close();
  });

  test("hostile names are shown as text", async () => {
    const email = someone();
    const deviceName = `<img src=x onerror=alert(1)>"'&`;
    await broker.clients().login.startEmailLogin({ email, deviceName });
    const page = await (await postForm(broker, "review", mailedToken(broker, email))).text();
    const mail = broker.devMailbox?.list().find(({ to }) => to === email);
    expect(page).not.toContain("<img");
    expect(mail?.html).not.toContain("<img");
    const mailbox = await (await fetch(`${broker.url}/dev/mailbox`)).text();
    expect(mailbox).not.toContain("<img src");
  });
});
