import { type Environment, readSettings, SettingsError } from "@agentkeys/lib/settings";
import { serviceHelp } from "@agentkeys/lib/settings/help";
import { type ListenAddress, listenAddress, oneOf, optional } from "@agentkeys/lib/settings/kinds";
import { settingNames } from "@agentkeys/lib/settings/names";

export interface MailboxSettings {
  /** Where SMTP is spoken. */
  smtpListen: ListenAddress;
  /** Where the page and the JSON API are. */
  listen: ListenAddress;
  logLevel: string;
}

const declared = {
  AGENTKEYS_MAILBOX_SMTP_LISTEN: optional("host:port for SMTP", listenAddress, { host: "127.0.0.1", port: 1025 }),
  AGENTKEYS_MAILBOX_LISTEN: optional("host:port for the page and the JSON API", listenAddress, {
    host: "127.0.0.1",
    port: 8093,
  }),
  AGENTKEYS_MAILBOX_LOG_LEVEL: optional("how much to log", oneOf("debug", "info", "warn", "error"), "info" as const),
};

/** What `--help` prints. */
export const mailboxHelp = serviceHelp({
  command: "node dist/mailbox/main.js",
  about: "DEV ONLY: a mail server that keeps what it gets in memory, and shows everybody's mail to everybody.",
  settings: declared,
});

/** Reads the mailbox's settings. @throws SettingsError */
export function readMailboxSettings(env: Environment): MailboxSettings {
  const values = readSettings(env, declared, settingNames);
  if (env["NODE_ENV"] === "production") {
    throw new SettingsError([
      "NODE_ENV is production, and this mailbox shows everybody's mail: it is for development.",
    ]);
  }
  return {
    smtpListen: values.AGENTKEYS_MAILBOX_SMTP_LISTEN,
    listen: values.AGENTKEYS_MAILBOX_LISTEN,
    logLevel: values.AGENTKEYS_MAILBOX_LOG_LEVEL,
  };
}
