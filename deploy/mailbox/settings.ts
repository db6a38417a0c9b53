import { type Environment, readSettings, SettingsError } from "@agentkeys/lib/settings";
import { type ListenAddress, listenAddress, oneOf, optional } from "@agentkeys/lib/settings/kinds";
import { settingNames } from "@agentkeys/lib/settings/names";

export interface MailboxSettings {
  /** Where SMTP is spoken. */
  smtpListen: ListenAddress;
  /** Where the page and the JSON API are. */
  listen: ListenAddress;
  logLevel: string;
}

/** Reads the mailbox's settings. @throws SettingsError */
export function readMailboxSettings(env: Environment): MailboxSettings {
  const values = readSettings(
    env,
    {
      AGENTKEYS_MAILBOX_SMTP_LISTEN: optional("Where SMTP is spoken, host:port.", listenAddress, {
        host: "127.0.0.1",
        port: 1025,
      }),
      AGENTKEYS_MAILBOX_LISTEN: optional("Where the page and the JSON API are, host:port.", listenAddress, {
        host: "127.0.0.1",
        port: 8093,
      }),
      AGENTKEYS_MAILBOX_LOG_LEVEL: optional("How much is logged.", oneOf("debug", "info", "warn", "error"), "info"),
    },
    settingNames,
  );
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
