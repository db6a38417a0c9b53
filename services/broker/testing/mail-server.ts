import { once } from "node:events";
import type { AddressInfo } from "node:net";

import { type ParsedMail, simpleParser } from "mailparser";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";

/** A real SMTP server on a free loopback port, that keeps what it is given. */
export interface MailServer {
  port: number;
  received: ReceivedMail[];
  readonly close: () => Promise<void>;
}

export interface ReceivedMail {
  from: string;
  to: string[];
  /** Whether it came over TLS. */
  secure: boolean;
  /** As it came over the wire. */
  raw: string;
  parsed: ParsedMail;
}

/** Takes every mail without TLS or a password, unless `options` say otherwise. */
export async function startMailServer(options: SMTPServerOptions = {}): Promise<MailServer> {
  const received: ReceivedMail[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS"],
    disableReverseLookup: true,
    closeTimeout: 100,
    onData: (stream, session, callback) => {
      void stream.toArray().then(async (chunks: Buffer[]) => {
        const { mailFrom, rcptTo } = session.envelope;
        const bytes = Buffer.concat(chunks);
        received.push({
          from: mailFrom === false ? "" : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          secure: session.secure,
          raw: bytes.toString(),
          parsed: await simpleParser(bytes),
        });
        callback();
      });
    },
    ...options,
  });
  // Clients that hang up, which some tests want them to.
  server.on("error", () => undefined);
  const listening = server.listen(0, "127.0.0.1");
  await once(listening, "listening");
  return {
    port: (listening.address() as AddressInfo).port,
    received,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

/** An error that the server answers with this reply. */
export function smtpRefusal(responseCode: number, message: string): Error {
  return Object.assign(new Error(message), { responseCode });
}
