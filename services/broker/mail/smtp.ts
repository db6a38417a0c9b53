import { createTransport } from "nodemailer";

import { SECOND } from "@agentkeys/lib/clock";
import { isLoopback } from "@agentkeys/lib/settings/kinds";

import type { Mailer } from "./mailer.ts";

export interface SmtpOptions {
  /**
   * `smtps://user:password@host` (port 465) or `smtp://…` (port 587), with nodemailer's options as query parameters.
   *
   * To another machine, `smtp` demands STARTTLS and sends nothing when that fails; `?requireTLS=false`, for a mail server on a
   * private network, uses TLS only where the server offers it. Certificates are checked. On loopback nobody is in between:
   * neither TLS nor a certificate that anyone would vouch for is asked of the server.
   */
  url: string;
  /** The From address. */
  from: string;
  /** How long a delivery may take from the first packet to the server's last word, in milliseconds. Default 20 s. */
  patienceMs?: number;
}

/** Shorter than our own callers wait (30 s), so that they hear why a sign-in failed. */
const PATIENCE_MS = 20 * SECOND;

/** Marks a mail that no person wrote, so that no holiday notice comes back (RFC 3834 section 5). */
const headers = { "Auto-Submitted": "auto-generated" };

/**
 * Delivers by SMTP (RFC 5321), over a connection of its own for each mail: sign-ins are rare, and a kept connection that the
 * server has dropped meanwhile would cost a mail.
 */
export function createSmtpMailer({ url, from, patienceMs = PATIENCE_MS }: SmtpOptions): Mailer {
  const transport = createTransport({
    ...securityFor(new URL(url)),
    connectionTimeout: patienceMs / 2,
    greetingTimeout: patienceMs / 2,
    socketTimeout: patienceMs / 2,
    // Nothing that a mail is made of names a file or a page to put into it.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return {
    send: async ({ to, subject, text, html }) => {
      // The address as an object: a list or a display name cannot be smuggled in by its text.
      const recipient = { name: "", address: to };
      const signal = AbortSignal.timeout(patienceMs);
      await transport.sendMail({ from, to: recipient, subject, text, html, headers, signal });
    },
    check: async () => {
      await transport.verify();
    },
    close: () => transport.close(),
  };
}

function securityFor(target: URL) {
  if (isLoopback(target.hostname)) return { url: target.href, tls: { rejectUnauthorized: false } };
  if (target.protocol === "smtp:" && !target.searchParams.has("requireTLS")) {
    target.searchParams.set("requireTLS", "true");
  }
  return { url: target.href };
}
