import { createTransport } from "nodemailer";

import { isLoopback } from "@agentkeys/lib/settings/kinds";

import type { Mailer } from "./mailer.ts";

export interface SmtpOptions {
  /**
   * `smtp://user:password@host:port` or `smtps://…`. On the way to another machine TLS is demanded (STARTTLS on `smtp`), unless the
   * URL says `?requireTLS=false`, for a mail server on a private network.
   */
  url: string;
  /** The From address. */
  from: string;
}

/** Delivers by SMTP, over kept connections. */
export function createSmtpMailer({ url, from }: SmtpOptions): Mailer {
  const target = new URL(url);
  const local = isLoopback(target.hostname);
  if (target.protocol === "smtp:" && !local && !target.searchParams.has("requireTLS")) {
    target.searchParams.set("requireTLS", "true");
  }
  const transport = createTransport(target.href, { from });
  Object.assign(transport.options, { connectionTimeout: 10_000, greetingTimeout: 10_000, socketTimeout: 20_000 });
  return {
    send: async ({ to, subject, text, html }) => {
      // The address as an object: a list or a display name cannot be smuggled in by its text.
      await transport.sendMail({ from, to: { name: "", address: to }, subject, text, html });
    },
    check: async () => {
      await transport.verify();
    },
    close: () => transport.close(),
  };
}
