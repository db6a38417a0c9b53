import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";

import type { SMTPServerOptions } from "smtp-server";
import { afterEach, describe, expect, test } from "vitest";

import { selfSignedCertificate } from "@agentkeys/lib/rpc/testing/certificate";
import { Secret } from "@agentkeys/lib/secret";

import { type MailServer, smtpRefusal, startMailServer } from "../testing/mail-server.ts";
import { signInMail } from "./sign-in-mail.ts";
import { createSmtpMailer, type SmtpOptions } from "./smtp.ts";

let server: MailServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});
const start = async (options?: SMTPServerOptions): Promise<MailServer> => (server = await startMailServer(options));

const link = `https://broker.example/login#${"t".repeat(43)}`;
const mailTo = (email: string, deviceName = "ada's laptop") =>
  signInMail(
    {
      purpose: "sign-in",
      screen: "terminal",
      email,
      userCode: "BCDF-GHJK",
      deviceName,
      sourceAddress: "192.0.2.7",
      createdAt: 0,
      expiresAt: 900_000,
    },
    new Secret(link),
  );
const mailer = (host: string, port: number, options: Partial<SmtpOptions> & { query?: string } = {}) =>
  createSmtpMailer({
    url: `smtp://${host}:${port}${options.query ?? ""}`,
    from: "AgentKeys <agentkeys@example.com>",
    ...options,
  });
/** By this name loopback looks like another machine, on Linux. */
const ANOTHER_MACHINE = "0.0.0.0";

describe("a delivered mail", () => {
  test("goes to the one address, and says the same in text and in HTML", async () => {
    const { port, received } = await start();
    await mailer("127.0.0.1", port).send(await mailTo("ada@example.com"));
    expect(received).toHaveLength(1);
    const [{ from, to, parsed }] = received as [MailServer["received"][0]];
    expect({ from, to }).toEqual({ from: "agentkeys@example.com", to: ["ada@example.com"] });
    expect(parsed.subject).toBe("Sign in to AgentKeys: BCDF-GHJK");
    expect(parsed.headers.get("auto-submitted")).toBe("auto-generated");
    for (const part of [parsed.text ?? "", String(parsed.html)]) {
      for (const fact of ["BCDF-GHJK", "192.0.2.7", "Thu, 01 Jan 1970 00:00:00 GMT", "15 minutes", link]) {
        expect(part).toContain(fact);
      }
    }
  });

  test("has the headers that we gave it and one recipient, whatever the machine calls itself", async () => {
    const { port, received } = await start();
    const names = [
      "x\r\nBcc: eve@example.com",
      "\r\n.\r\nMAIL FROM:<eve@example.com>\r\n",
      "=?utf-8?q?Bcc:?=",
      "\u0000",
    ];
    for (const name of names) await mailer("127.0.0.1", port).send(await mailTo("ada@example.com", name));
    expect(received).toHaveLength(names.length);
    const expected = ["auto-submitted", "content-type", "date", "from", "message-id", "mime-version", "subject", "to"];
    for (const { to, parsed } of received) {
      expect(to).toEqual(["ada@example.com"]);
      expect([...parsed.headers.keys()].sort()).toEqual(expected);
    }
  });

  test.each([
    "eve@example.com, ada@example.com",
    "ada@example.com\r\nBcc: eve@example.com",
    "Ada <ada@example.com>, eve@example.com",
    "ada@example.com> NOTIFY=SUCCESS\r\nRCPT TO:<eve@example.com",
  ])("goes to nobody when the address is none, or more than one: %j", async (address) => {
    const { port, received } = await start();
    const mail = { ...(await mailTo("ada@example.com")), to: address };
    await expect(mailer("127.0.0.1", port).send(mail)).rejects.toThrow();
    expect(received).toEqual([]);
  });

  test("reaches addresses with letters of other alphabets, where the server can", async () => {
    const { port, received } = await start();
    await mailer("127.0.0.1", port).send(await mailTo("søren@xn--bcher-kva.example"));
    // The server shows the domain in its other form.
    expect(received[0]?.to).toEqual(["søren@bücher.example"]);
  });
});

describe("a mail is not sent, and the caller hears of it, when", () => {
  test("the server refuses the address, the sender or the text", async () => {
    const refuse = (callback: (error: Error) => void): void => callback(smtpRefusal(550, "No such mailbox"));
    for (const options of [
      { onRcptTo: (_: unknown, __: unknown, callback: (error: Error) => void) => refuse(callback) },
      { onMailFrom: (_: unknown, __: unknown, callback: (error: Error) => void) => refuse(callback) },
      {
        onData: (stream: NodeJS.ReadableStream, _: unknown, callback: (error: Error) => void) =>
          stream.on("end", () => refuse(callback)).resume(),
      },
    ] as SMTPServerOptions[]) {
      const { port, close } = await start(options);
      await expect(mailer("127.0.0.1", port).send(await mailTo("ada@example.com"))).rejects.toThrow("No such mailbox");
      await close();
    }
    server = undefined;
  });

  test("the password is wrong, which is not repeated", async () => {
    const { port } = await start({
      authOptional: false,
      allowInsecureAuth: true,
      onAuth: (_, __, callback) => callback(smtpRefusal(535, "Wrong password")),
    });
    const sending = mailer("broker:canary-password@127.0.0.1", port).send(await mailTo("ada@example.com"));
    const error: unknown = await sending.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Error);
    expect(JSON.stringify(error) + String(error)).not.toContain("canary");
  });

  test("nobody listens there", async () => {
    const { port, close } = await start();
    await close();
    server = undefined;
    const away = mailer("127.0.0.1", port);
    await expect(away.send(await mailTo("ada@example.com"))).rejects.toThrow(/ECONNREFUSED/);
    await expect(away.check()).rejects.toThrow(/ECONNREFUSED/);
  });

  test.each<[string, (socket: Socket) => unknown]>([
    ["says nothing at all", () => undefined],
    ["stops after its greeting", (socket) => socket.write("220 hello\r\n")],
    [
      "talks and comes to no end",
      (socket) => {
        socket.write("220 hello\r\n");
        socket.once("data", () => {
          const talking = setInterval(() => socket.write("250-and another thing\r\n"), 10);
          socket.on("close", () => clearInterval(talking));
        });
      },
    ],
  ])("the server %s", async (_, behave) => {
    const sockets: Socket[] = [];
    const odd = createServer((socket) => {
      sockets.push(socket.on("error", () => undefined));
      behave(socket);
    });
    await once(odd.listen(0, "127.0.0.1"), "listening");
    const { port } = odd.address() as AddressInfo;
    const impatient = mailer("127.0.0.1", port, { patienceMs: 200 });
    await expect(impatient.send(await mailTo("ada@example.com"))).rejects.toThrow();
    for (const socket of sockets) socket.destroy();
    odd.close();
  });
});

describe("on the way to another machine", () => {
  const tls = async (): Promise<SMTPServerOptions> => ({ ...(await selfSignedCertificate()), disabledCommands: [] });

  test("nothing is sent without TLS", async () => {
    const { port, received } = await start();
    await expect(mailer(ANOTHER_MACHINE, port).send(await mailTo("ada@example.com"))).rejects.toThrow();
    await expect(
      mailer(ANOTHER_MACHINE, port, { query: "?ignoreTLS=true" }).send(await mailTo("ada@example.com")),
    ).rejects.toThrow();
    expect(received).toEqual([]);
  });

  test("nothing is sent to a server that nobody vouches for", async () => {
    const { port, received } = await start(await tls());
    for (const query of ["", "?requireTLS=false"]) {
      await expect(mailer(ANOTHER_MACHINE, port, { query }).send(await mailTo("ada@example.com"))).rejects.toThrow(
        /certificate/i,
      );
    }
    expect(received).toEqual([]);
  });

  test("the URL may say that a private network needs no TLS", async () => {
    const { port, received } = await start();
    await mailer(ANOTHER_MACHINE, port, { query: "?requireTLS=false" }).send(await mailTo("ada@example.com"));
    expect(received.map(({ secure }) => secure)).toEqual([false]);
  });

  test("on loopback TLS is used where it is offered, whoever vouches for it", async () => {
    const { port, received } = await start(await tls());
    await mailer("127.0.0.1", port).send(await mailTo("ada@example.com"));
    expect(received.map(({ secure }) => secure)).toEqual([true]);
  });
});

test("a check logs in and sends nothing", async () => {
  const { port, received } = await start({
    authOptional: false,
    allowInsecureAuth: true,
    onAuth: ({ username }, _, callback) =>
      username === "broker" ? callback(null, { user: "broker" }) : callback(smtpRefusal(535, "Wrong password")),
  });
  await mailer("broker:secret@127.0.0.1", port).check();
  await expect(mailer("stranger:secret@127.0.0.1", port).check()).rejects.toThrow("Wrong password");
  expect(received).toEqual([]);
});
