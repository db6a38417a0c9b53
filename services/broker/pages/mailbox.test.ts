import { request } from "node:http";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { Secret } from "@agentkeys/lib/secret";

import { mailedToken, startTestBroker, type TestBroker } from "../testing/broker.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker.close());

describe("the development mailbox", () => {
  const ask = (host: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      request(`${broker.url}/dev/mailbox`, { headers: { host } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on("error", reject)
        .end();
    });

  test("says that it is one, and shows each mail with its link", async () => {
    const email = "ada@example.com";
    await broker.clients().login.startEmailLogin({ email });
    const token = mailedToken(broker, email);
    const page = await (await fetch(`${broker.url}/dev/mailbox`)).text();
    expect(page).toContain("DEVELOPMENT: no mail is sent.");
    expect(page).toContain(email);
    expect(page).toContain(`<a class="button go" href="${broker.publicUrl}/login#${token}">`);
  });

  test("answers browsers that came by a name of this machine, and no other", async () => {
    const port = new URL(broker.url).port;
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`]) expect(await ask(host)).toBe(200);
    for (const host of ["evil.example", `evil.example:${port}`, "localhost.evil.example", "192.0.2.1"]) {
      expect(await ask(host), host).toBe(403);
    }
  });

  test("is not there where mails are really sent, nor is a link to it", async () => {
    const sending = await startTestBroker({ settings: { smtpUrl: new Secret("smtp://127.0.0.1:1") } });
    try {
      expect((await fetch(`${sending.url}/dev/mailbox`)).status).toBe(404);
      expect(await (await fetch(`${sending.url}/`)).text()).not.toContain("mailbox");
    } finally {
      await sending.close();
    }
  });
});
