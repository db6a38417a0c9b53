import type { AddressInfo } from "node:net";

import { simpleParser } from "mailparser";
import { SMTPServer, type SMTPServerDataStream, type SMTPServerSession } from "smtp-server";

import type { Clock } from "@agentkeys/lib/clock";
import { listenAt } from "@agentkeys/lib/listen";
import type { Logger } from "@agentkeys/lib/log";
import type { ListenAddress } from "@agentkeys/lib/settings/kinds";

import type { Inbox } from "./inbox.ts";

/** A mail larger than this is refused with 552 (RFC 5321). */
const MAX_MAIL_BYTES = 256 * 1024;
const MAX_RECIPIENTS = 50;

/**
 * Takes mail over SMTP (RFC 5321) from and to anybody, with any password or none, and puts it in the inbox. For
 * development only: it never sends anything on.
 */
export async function startReceiver(o: {
  listen: ListenAddress;
  inbox: Inbox;
  clock: Clock;
  log: Logger;
}): Promise<{ port: number; close(): Promise<void> }> {
  const server = new SMTPServer({
    name: "mailbox",
    banner: "development mailbox, sends nothing on",
    size: MAX_MAIL_BYTES,
    maxClients: 50,
    socketTimeout: 30_000,
    closeTimeout: 500,
    disableReverseLookup: true,
    disabledCommands: ["STARTTLS"],
    authOptional: true,
    allowInsecureAuth: true,
    onAuth: (_, __, callback) => callback(null, { user: "anybody" }),
    onRcptTo(_, session, callback) {
      callback(session.envelope.rcptTo.length < MAX_RECIPIENTS ? null : refusal(452, "Too many recipients"));
    },
    onData(stream, session, callback) {
      receive(stream, session).then(
        () => callback(null),
        (error: unknown) => callback(error instanceof Error ? error : refusal(554, "Not a mail")),
      );
    },
  });
  // Clients that hang up and the like; a development mailbox goes on.
  server.on("error", (error) => o.log.warn({ msg: "smtp trouble", error: error.message }));

  async function receive(stream: SMTPServerDataStream, session: SMTPServerSession): Promise<void> {
    const parsed = await simpleParser(await wholeMail(stream), { skipTextToHtml: true, skipImageLinks: true });
    const { mailFrom, rcptTo } = session.envelope;
    const mail = o.inbox.add({
      receivedAt: o.clock(),
      from: mailFrom === false ? "" : mailFrom.address,
      to: rcptTo.map((recipient) => recipient.address),
      subject: parsed.subject ?? "",
      text: parsed.text ?? "",
      html: parsed.html === false ? "" : (parsed.html ?? ""),
    });
    o.log.info({ msg: "mail received", id: mail.id, to: mail.to, subject: mail.subject });
  }

  await listenAt(server.server, o.listen);
  return {
    port: (server.server.address() as AddressInfo).port,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

/** Reads to the end, as SMTP wants even of a mail that is too large, but keeps no more than may be. */
async function wholeMail(stream: SMTPServerDataStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) if (!stream.sizeExceeded) chunks.push(chunk);
  if (stream.sizeExceeded) throw refusal(552, `The mail is larger than ${MAX_MAIL_BYTES} bytes`);
  return Buffer.concat(chunks);
}

/** An error that smtp-server answers with this reply code. */
function refusal(responseCode: number, message: string): Error {
  return Object.assign(new Error(message), { responseCode });
}
