import { describe, expect, test } from "vitest";

import { Secret } from "@agentkeys/lib/secret";

import { defaultAllowances } from "../../limits/index.ts";
import { reasonOf, startTestBroker, type TestBroker } from "../../testing/broker.ts";
import { smtpRefusal, startMailServer } from "../../testing/mail-server.ts";

const startAt = (broker: TestBroker, email: string, from = "127.0.0.1"): Promise<Response> =>
  fetch(`${broker.url}/v1/auth/email/start`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-forwarded-for": from },
    body: JSON.stringify({ email }),
  });

describe("a mail that cannot be sent", () => {
  const noMailbox = smtpRefusal(550, "No such mailbox");
  const brokerWith = (port: number) =>
    startTestBroker({ settings: { smtpUrl: new Secret(`smtp://127.0.0.1:${port}`) } });

  test("is MAIL_NOT_SENT with a time to wait, whether the server refuses it or is away, and leaves no sign-in behind", async () => {
    const server = await startMailServer({ onRcptTo: (_, __, callback) => callback(noMailbox) });
    const broker = await brokerWith(server.port);
    try {
      const answers = [await startAt(broker, "ada@example.com")];
      await server.close();
      answers.push(await startAt(broker, "ada@example.com"));
      for (const answer of answers) {
        expect(answer.status).toBe(503);
        expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
        const text = await answer.text();
        expect(text).toContain("MAIL_NOT_SENT");
        expect(text).not.toMatch(/No such mailbox|ECONNREFUSED/);
      }
      expect(broker.rows("SELECT count(*) FROM login")).toEqual([0]);
      const log = broker.logged.join("");
      expect(log).toContain("No such mailbox");
      expect(log).toContain("ECONNREFUSED");
      expect(log).not.toContain("/login#");
    } finally {
      await broker.close();
    }
  });

  test("keeps nobody from another one, when the server takes it again", async () => {
    const refusals = [noMailbox];
    const server = await startMailServer({ onRcptTo: (_, __, callback) => callback(refusals.pop() ?? null) });
    const broker = await brokerWith(server.port);
    try {
      const { login } = broker.clients();
      expect(await reasonOf(login.startEmailLogin({ email: "ada@example.com" }))).toBe("MAIL_NOT_SENT");
      const { userCode } = await login.startEmailLogin({ email: "ada@example.com" });
      expect(server.received.map(({ parsed }) => parsed.subject)).toEqual([`Sign in to AgentKeys: ${userCode}`]);
    } finally {
      await broker.close();
      await server.close();
    }
  });
});

describe("limits", () => {
  test.each([
    ["one address", () => "192.0.2.66"],
    ["one network of IPv6 addresses", (nth: number) => `2001:db8::${nth.toString(16)}`],
  ])("as they are by default, nobody at %s can lock a mailbox", async (_, sourceOf) => {
    const broker = await startTestBroker({
      allowances: defaultAllowances,
      settings: { trustedProxies: ["127.0.0.1"] },
    });
    try {
      const attacks: number[] = [];
      for (let nth = 1; nth <= 40; nth++) {
        attacks.push((await startAt(broker, "victim@example.com", sourceOf(nth))).status);
      }
      expect(attacks).toContain(200);
      expect(attacks.at(-1)).toBe(429);
      expect((await startAt(broker, "victim@example.com", "198.51.100.1")).status).toBe(200);
    } finally {
      await broker.close();
    }
  });

  test("who has used up the own allowance does not use up the mailbox's", async () => {
    const tight = await startTestBroker({
      allowances: {
        mailsBySource: { times: 100, seconds: 60 },
        mailsBySourceAndMailbox: { times: 3, seconds: 60 },
        mailsByMailbox: { times: 4, seconds: 60 },
      },
      settings: { trustedProxies: ["127.0.0.1"] },
    });
    const start = (from: string, email: string): Promise<Response> =>
      fetch(`${tight.url}/v1/auth/email/start`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-forwarded-for": from },
        body: JSON.stringify({ email }),
      });
    try {
      const statuses: number[] = [];
      for (let i = 0; i < 6; i++) statuses.push((await start("192.0.2.1", "victim@example.com")).status);
      expect(statuses).toEqual([200, 200, 200, 429, 429, 429]);
      const victim = await start("192.0.2.2", "victim@example.com");
      expect(victim.status).toBe(200);
      expect((await start("192.0.2.1", "other@example.com")).status).toBe(200);
      const refused = await start("192.0.2.2", "victim@example.com");
      expect(refused.status).toBe(429);
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    } finally {
      await tight.close();
    }
  });
});
