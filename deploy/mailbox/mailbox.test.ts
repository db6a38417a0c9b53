import { createHash } from "node:crypto";
import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";

import { createTransport } from "nodemailer";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { createLog } from "@agentkeys/lib/log";

import { createInbox } from "./inbox.ts";
import { type RunningMailbox, startMailbox } from "./start.ts";

let mailbox: RunningMailbox;

beforeEach(async () => {
  mailbox = await startMailbox({
    smtpListen: { host: "127.0.0.1", port: 0 },
    listen: { host: "127.0.0.1", port: 0 },
    log: createLog("mailbox", { level: "silent" }),
    clock: () => Date.UTC(2030, 0, 2, 3, 4, 5),
  });
});
afterEach(() => mailbox.close());

describe("the mailbox over SMTP", () => {
  test("a mail that was accepted is in the API's answer, with the links of its text", async () => {
    await send({
      subject: "Grüße",
      text: "Press here: http://localhost:8091/login#abc_-1. Thank you (https://x.example/a).",
    });
    expect(await api("/api/mails")).toEqual({
      mails: [
        {
          id: 1,
          received_at: "2030-01-02T03:04:05.000Z",
          from: "broker@example.com",
          to: ["ada@example.com"],
          subject: "Grüße",
          text: expect.stringContaining("Press here") as string,
          html: "",
          links: ["http://localhost:8091/login#abc_-1", "https://x.example/a"],
        },
      ],
    });
  });

  test("a client that logs in is welcome with any password", async () => {
    const url = new URL(mailbox.smtpUrl);
    url.username = "somebody";
    url.password = "anything";
    await send({ text: "x" }, url.href);
    expect(mailbox.inbox.list()).toHaveLength(1);
  });

  test("the recipients are those of the envelope, hidden ones too", async () => {
    await send({ to: "ada@example.com", bcc: "eve@example.com", text: "x" });
    expect(mailbox.inbox.list()[0]?.to).toEqual(["ada@example.com", "eve@example.com"]);
  });

  test("a mail that says it is too large is refused at once, and one that is larger than it said at its end", async () => {
    await expect(send({ text: "x".repeat(300_000) })).rejects.toThrow(/552|maximum/);
    const answers = await converse(
      ["EHLO x", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA"],
      `Subject: big\r\n\r\n${"x".repeat(300_000)}\r\n.`,
    );
    expect(answers.at(-1)).toMatch(/^552 /);
    expect(mailbox.inbox.list()).toEqual([]);
  });

  test("bytes that are no mail do no harm", async () => {
    const answers = await converse(
      ["EHLO x", "MAIL FROM:<>", "RCPT TO:<b@example.com>", "DATA"],
      "Content-Type: multipart/mixed; boundary=\u0000\r\n\u0001\u0002\r\n--\u0000\r\n.",
    );
    expect(answers.at(-1)).toMatch(/^250 /);
    expect(mailbox.inbox.list()[0]?.from).toBe("");
  });
});

describe("the JSON API", () => {
  test("filters by recipient in any case and by the last id seen", async () => {
    await send({ to: "ada@example.com", text: "1" });
    await send({ to: "bob@example.com", text: "2" });
    await send({ to: "ada@example.com", text: "3" });
    expect(await ids("/api/mails?to=Ada@Example.com")).toEqual([3, 1]);
    expect(await ids("/api/mails?to=ada@example.com&after=1")).toEqual([3]);
    expect(await ids("/api/mails?to=eve@example.com")).toEqual([]);
  });

  test("a call that waits is answered by the first mail that fits", async () => {
    const waiting = ids("/api/mails?to=ada@example.com&wait_ms=20000");
    await send({ to: "bob@example.com", text: "1" });
    await send({ to: "ada@example.com", text: "2" });
    expect(await waiting).toEqual([2]);
  });

  test("a call whose time is up is answered with nothing", async () => {
    expect(await ids("/api/mails?wait_ms=1")).toEqual([]);
  });

  test("one mail is read by its id, and a mail that is not there is a 404", async () => {
    await send({ subject: "one", text: "1" });
    expect(await api("/api/mails/1")).toMatchObject({ subject: "one" });
    expect((await fetch(`${mailbox.url}/api/mails/2`)).status).toBe(404);
  });

  test("emptying the mailbox leaves none, and ids go on", async () => {
    await send({ text: "1" });
    expect((await fetch(`${mailbox.url}/api/mails`, { method: "DELETE" })).status).toBe(204);
    expect(await ids("/api/mails")).toEqual([]);
    await send({ text: "2" });
    expect(await ids("/api/mails")).toEqual([2]);
  });

  test.each(["after=x", "after=-1", "wait_ms=1.5", "wait_ms=30001", "wait_ms="])(
    "refuses %s by name",
    async (query) => {
      const answer = await fetch(`${mailbox.url}/api/mails?${query}`);
      expect(answer.status).toBe(400);
      expect(((await answer.json()) as { message: string }).message).toContain(query.split("=")[0]);
    },
  );
});

describe("the page", () => {
  test("says that it is for development and lists what came, newest first", async () => {
    await send({ subject: "first", text: "x" });
    await send({ subject: "second", text: "x" });
    const page = await (await fetch(mailbox.url)).text();
    expect(page).toContain("DEVELOPMENT: this mailbox keeps every mail");
    expect(page.indexOf("<strong>second")).toBeLessThan(page.indexOf("<strong>first"));
  });

  test("shows a mail's markup as text and its addresses as links", async () => {
    await send({
      subject: `<img src=x onerror="alert(1)">`,
      text: `<script>alert(1)</script> http://localhost:8091/login#a"b 'javascript:alert(1)'`,
    });
    const page = await (await fetch(`${mailbox.url}/mails/1`)).text();
    expect(page).not.toMatch(/<script|<img|href="javascript/);
    expect(page).toContain("&lt;script&gt;");
    expect(page).toContain(`<a href="http://localhost:8091/login#a" rel="noopener noreferrer">`);
  });

  test("may load nothing but its own style sheet", async () => {
    const policy = (await fetch(mailbox.url)).headers.get("content-security-policy");
    const page = await (await fetch(mailbox.url)).text();
    const style = /<style>([^<]*)<\/style>/.exec(page)?.[1] ?? "";
    const hash = createHash("sha256").update(style).digest("base64");
    expect(policy).toContain(`default-src 'none'; style-src 'sha256-${hash}';`);
    expect(page).not.toMatch(/\sstyle=|<link|<script/);
  });

  test("serves a mail's own HTML in a sandbox without scripts", async () => {
    await send({ text: "x", html: "<p>hello <script>alert(1)</script></p>" });
    const answer = await fetch(`${mailbox.url}/mails/1/html`);
    expect(await answer.text()).toContain("<p>hello");
    const policy = answer.headers.get("content-security-policy") ?? "";
    expect(policy).toMatch(/^sandbox allow-popups; default-src 'none';/);
    expect(policy).not.toContain("allow-scripts");
  });

  test("does not exist for a mail that is not there or has no HTML", async () => {
    await send({ text: "x" });
    expect((await fetch(`${mailbox.url}/mails/2`)).status).toBe(404);
    expect((await fetch(`${mailbox.url}/mails/1/html`)).status).toBe(404);
  });

  test.each([
    ["localhost:8093", 200],
    ["mailbox:8093", 200],
    ["[::1]:8093", 200],
    ["evil.example:8093", 421],
    ["127.0.0.1.evil.example", 421],
  ])("asked for as %s answers %d, so that another site's name cannot be pointed here", async (host, status) => {
    expect(await statusFor(host)).toBe(status);
  });
});

describe("the inbox", () => {
  test("forgets the oldest mail when it is full", () => {
    const inbox = createInbox(2);
    for (const subject of ["a", "b", "c"]) {
      inbox.add({ receivedAt: 0, from: "", to: [], subject, text: "", html: "" });
    }
    expect(inbox.list().map((mail) => mail.subject)).toEqual(["c", "b"]);
    expect(inbox.get(1)).toBeUndefined();
  });

  test("stops waiting when nobody wants the answer any more", async () => {
    const caller = new AbortController();
    const waiting = createInbox(2).wait({}, caller.signal);
    caller.abort();
    expect(await waiting).toBeUndefined();
  });
});

test("a mailbox whose page address is taken frees its mail address again", async () => {
  const { port } = new URL(mailbox.url);
  const log = createLog("mailbox", { level: "silent" });
  const smtpListen = { host: "127.0.0.1", port: 0 };
  await expect(startMailbox({ smtpListen, listen: { host: "127.0.0.1", port: Number(port) }, log })).rejects.toThrow(
    "another program does already",
  );
});

async function send(mail: Record<string, string>, url = mailbox.smtpUrl): Promise<void> {
  const transport = createTransport(url);
  await transport.sendMail({ from: "broker@example.com", to: "ada@example.com", ...mail });
  transport.close();
}

async function api(path: string): Promise<unknown> {
  return (await fetch(`${mailbox.url}${path}`)).json();
}

async function ids(path: string): Promise<number[]> {
  return ((await api(path)) as { mails: { id: number }[] }).mails.map((mail) => mail.id);
}

/** Says SMTP lines one by one, each after the answer to the last, then the mail, and returns the answers. */
async function converse(lines: readonly string[], mail: string): Promise<string[]> {
  const url = new URL(mailbox.smtpUrl);
  const socket = connect(Number(url.port), url.hostname);
  const answers: string[] = [];
  for (const line of ["", ...lines, mail]) {
    if (line !== "") socket.write(`${line}\r\n`);
    const [answer] = (await once(socket, "data")) as [Buffer];
    answers.push(answer.toString());
  }
  socket.destroy();
  return answers;
}

/** The status of `/` under a Host header of one's own, which `fetch` does not let through. */
async function statusFor(host: string): Promise<number | undefined> {
  const call = request(mailbox.url, { headers: { host } }).end();
  const [response] = (await once(call, "response")) as [import("node:http").IncomingMessage];
  response.resume();
  return response.statusCode;
}
