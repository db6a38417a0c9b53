import type { Clock } from "@agentkeys/lib/clock";
import type { Logger } from "@agentkeys/lib/log";

import type { Mail, Mailer } from "./mailer.ts";

/** A mail as the development mailbox keeps it. */
export interface KeptMail extends Mail {
  number: number;
  receivedAt: number;
}

/** DEVELOPMENT: a mailer that delivers to nobody and shows everybody on this machine what it was given. */
export interface DevMailbox extends Mailer {
  /** The newest first. */
  list(): readonly KeptMail[];
}

const CAPACITY = 50;

export function createDevMailbox({ clock, log }: { clock: Clock; log: Logger }): DevMailbox {
  let count = 0;
  let mails: KeptMail[] = [];
  return {
    send: (mail) => {
      mails = [{ ...mail, number: ++count, receivedAt: clock() }, ...mails].slice(0, CAPACITY);
      const link = /https?:\/\/\S+\/(?:login|notice)#\S+/.exec(mail.text)?.[0] ?? "";
      // The one place where a link is logged: there is no other way to read this mail without a browser.
      log.warn({ to: mail.to, link }, "DEVELOPMENT mailbox: a mail was kept here and sent to nobody");
      return Promise.resolve();
    },
    check: () => Promise.resolve(),
    close: () => undefined,
    list: () => mails,
  };
}
