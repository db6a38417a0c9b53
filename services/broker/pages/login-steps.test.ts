import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { MINUTE } from "@agentkeys/lib/clock";

import { mailedToken, postForm, reasonOf, startTestBroker, type TestBroker } from "../testing/broker.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker.close());

let count = 0;
/** A sign-in that waits for its person. */
async function start(deviceName = "laptop") {
  const email = `person${++count}@example.com`;
  const started = await broker.clients().login.startEmailLogin({ email, deviceName });
  return { ...started, email, token: mailedToken(broker, email) };
}
const ownPage = { "sec-fetch-site": "same-origin" };
const post = (path: string, body: BodyInit, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(broker.url + path, { method: "POST", body, headers: { ...ownPage, ...headers }, redirect: "manual" });
const titleOf = (page: string): string | undefined => /<h1>(.*?)<\/h1>/s.exec(page)?.[1]?.trim();

describe("without JavaScript", () => {
  test("the link, or what stands behind its #, is pasted into a form that leads to the sign-in", async () => {
    const { token, userCode } = await start();
    const form = await (await fetch(`${broker.url}/login`)).text();
    expect(form).toMatch(/<form[^>]*method="post"[^>]*action="\/login\/review"/);
    for (const pasted of [`${broker.publicUrl}/login#${token}`, token, `  ${token}\n`]) {
      const response = await post("/login/review", new URLSearchParams({ link: pasted }));
      expect(response.status).toBe(200);
      expect(await response.text()).toContain(userCode);
    }
  });

  test("something else that is pasted is no link, which a page says", async () => {
    for (const pasted of ["", "hello", `${broker.publicUrl}/login`, "A".repeat(42), `#${"A".repeat(44)}`, "#\u0000"]) {
      const response = await post("/login/review", new URLSearchParams({ link: pasted }));
      expect(response.status).toBe(404);
      expect(titleOf(await response.text())).toBe("This link does not work");
    }
  });
});

describe("a form that is broken", () => {
  test.each([
    ["multipart/form-data; boundary=x", "garbage"],
    ["multipart/form-data", "garbage"],
    ["application/json", "{}"],
    ["text/plain", "token=x"],
    ["", ""],
  ])("is refused as one: %s", async (contentType, body) => {
    const response = await post("/login/confirm", new Blob([body]), { "content-type": contentType });
    expect(response.status).toBe(415);
    expect(titleOf(await response.text())).toBe("Not a form");
  });

  test("is refused when it is larger than any link", async () => {
    const response = await post("/login/confirm", new URLSearchParams({ token: "a".repeat(9000) }));
    expect(response.status).toBe(413);
  });

  test("with bytes that are no text is no link", async () => {
    const body = new Blob([new Uint8Array([0xff, 0xfe, 0x25, 0x7a, 0x7a])]);
    const response = await post("/login/review", body, { "content-type": "application/x-www-form-urlencoded" });
    expect(response.status).toBe(404);
  });
});

describe("a link", () => {
  test("that was used says so, and that all is well for who pressed twice", async () => {
    const { token } = await start();
    await postForm(broker, "confirm", token);
    for (const step of ["review", "confirm", "refuse"] as const) {
      const response = await postForm(broker, step, token);
      expect(response.status).toBe(410);
      const page = await response.text();
      expect(titleOf(page)).toBe("This link was used already");
      expect(page).toContain("go back to your terminal");
    }
  });

  test("that was refused says so", async () => {
    const { token } = await start();
    await postForm(broker, "refuse", token);
    const response = await postForm(broker, "confirm", token);
    expect(response.status).toBe(410);
    expect(titleOf(await response.text())).toBe("This sign-in was refused");
  });

  test("that nobody was sent says so", async () => {
    const response = await postForm(broker, "review", "A".repeat(43));
    expect(response.status).toBe(404);
    expect(titleOf(await response.text())).toBe("This link does not work");
  });

  test("that is too old says so", async () => {
    const late = await startTestBroker();
    try {
      await late.clients().login.startEmailLogin({ email: "ada@example.com" });
      late.pass(15 * MINUTE);
      const response = await postForm(late, "confirm", mailedToken(late, "ada@example.com"));
      expect(response.status).toBe(410);
      expect(titleOf(await response.text())).toBe("This link has expired");
    } finally {
      await late.close();
    }
  });
});

describe("the page that asks", () => {
  const review = async (headers: Record<string, string>, from: string) => {
    const behindProxy = await startTestBroker({
      settings: { trustedProxies: ["127.0.0.1"], publicUrl: "http://localhost" },
    });
    try {
      await fetch(`${behindProxy.url}/v1/auth/email/start`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-forwarded-for": from },
        body: JSON.stringify({ email: "ada@example.com" }),
      });
      const body = new URLSearchParams({ token: mailedToken(behindProxy, "ada@example.com") });
      const response = await fetch(`${behindProxy.url}/login/review`, {
        method: "POST",
        body,
        headers: { ...ownPage, ...headers },
      });
      return await response.text();
    } finally {
      await behindProxy.close();
    }
  };

  test("warns who reads it elsewhere than where the sign-in was started", async () => {
    const page = await review({}, "192.0.2.66");
    expect(page).toContain("192.0.2.66");
    expect(page).toContain("You read this at 127.0.0.1.");
    expect(await review({}, "127.0.0.1")).not.toContain("You read this at");
  });

  test("shows a machine's hostile name as the text that it is, which turns nothing around it", async () => {
    const { token } = await start(`"><img src=x onerror=alert(1)> \u202egnp`);
    const page = await (await postForm(broker, "review", token)).text();
    expect(page).toContain("<bdi>&quot;&gt;&lt;img src=x onerror=alert(1)&gt; gnp</bdi>");
    const confirmed = await (await postForm(broker, "confirm", token)).text();
    expect(confirmed).not.toContain("<img");
  });

  test("has the link's secret in its two forms only", async () => {
    const { token } = await start();
    const page = await (await postForm(broker, "review", token)).text();
    expect(page.split(token)).toHaveLength(3);
    expect(page).not.toContain(`#${token}`);
  });
});

describe("a press of the button", () => {
  test.each([
    [{ "sec-fetch-site": "cross-site" }],
    [{ "sec-fetch-site": "same-site" }],
    [{ "sec-fetch-site": "cross-site", origin: "same" }],
    [{ origin: "https://evil.example" }],
    [{ origin: "null" }],
    [{ origin: "http://127.0.0.1:1" }],
    [{ origin: "http://localhost:1" }],
  ])("on somebody else's page counts for nothing: %j", async (headers: Record<string, string>) => {
    const { token, loginId, loginSecret } = await start();
    for (const step of ["review", "confirm", "refuse"]) {
      const response = await fetch(`${broker.url}/login/${step}`, {
        method: "POST",
        body: new URLSearchParams({ token }),
        headers: { ...headers, ...(headers["origin"] === "same" && { origin: broker.url }) },
      });
      expect(response.status).toBe(403);
      expect(await response.text()).not.toContain(token);
    }
    const waiting = broker.clients().login.awaitLogin({ loginId, loginSecret }, { timeoutMs: 900 });
    expect(await reasonOf(waiting)).toBe("LOGIN_PENDING");
  });

  test("on our page counts, by whichever name of loopback it was opened", async () => {
    const byAnotherName = broker.url.replace("127.0.0.1", "localhost");
    for (const headers of [{ origin: broker.url }, { origin: byAnotherName }, ownPage]) {
      const { token } = await start();
      const body = new URLSearchParams({ token });
      const response = await fetch(`${broker.url}/login/confirm`, { method: "POST", body, headers });
      expect(response.status).toBe(200);
    }
  });
});
