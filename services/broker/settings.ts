import { isIP } from "node:net";
import { join } from "node:path";
import { createSecureContext } from "node:tls";

import { DAY } from "@agentkeys/lib/clock";
import { Secret } from "@agentkeys/lib/secret";
import { type Environment, readSettings, type Setting, SettingError, SettingsError } from "@agentkeys/lib/settings";
import { serviceHelp } from "@agentkeys/lib/settings/help";
import {
  fileContents,
  integer,
  isLoopback,
  list,
  type ListenAddress,
  listenAddress,
  oneOf,
  optional,
  originUrl,
} from "@agentkeys/lib/settings/kinds";
import { settingNames } from "@agentkeys/lib/settings/names";

import { DORMANT_AFTER_MS, parseEmail } from "./identity/index.ts";
import { oauthProviders, type ProviderSettings } from "./login/index.ts";
import { DEFAULT_AUDIENCE } from "./token/index.ts";

/** What the broker is started with. */
export interface BrokerSettings {
  listen: ListenAddress;
  /** The issuer; absent: the address listened on, which is allowed on loopback only. */
  publicUrl?: string;
  /** The SQLite file. */
  store: string;
  clientId: string;
  /** Absent: mails go to the development mailbox, which is allowed on loopback only. */
  smtpUrl?: Secret;
  mailFrom: string;
  /** 32 bytes; absent: signing keys are stored in the clear, which is allowed on loopback only. */
  keyEncryptionKey?: Secret<Uint8Array>;
  audiences: readonly string[];
  /** How long after the sign-in a session may be renewed, in milliseconds. */
  renewableMs: number;
  /** Where people may sign in beside their mailbox. */
  providers: readonly ProviderSettings[];
  /** How long a mailbox may go unused, in milliseconds. */
  dormantAfterMs: number;
  /** The EVM node that is asked about the signatures of contract wallets; absent: none of these. Such URLs often hold a key. */
  ethereumRpcUrl?: Secret;
  /** How long an account's history is kept, in milliseconds. */
  historyMs: number;
  trustedProxies: readonly string[];
  /** Where what is counted can be scraped; absent: nowhere. */
  metricsListen?: ListenAddress;
  tls?: { cert: Buffer; key: Buffer };
  logLevel: string;
}

const declared = {
  AGENTKEYS_CLIENT_ID: optional("names the accounts; never change it", clientId, "agentkeys"),
  AGENTKEYS_BROKER_LISTEN: optional("host:port to listen on", listenAddress, { host: "127.0.0.1", port: 8091 }),
  AGENTKEYS_BROKER_PUBLIC_URL: optional("the URL that others know the broker by; the issuer", issuer, undefined),
  AGENTKEYS_BROKER_STORE: optional("the SQLite file", storeFile, join(".agentkeys", "broker.sqlite")),
  AGENTKEYS_BROKER_SMTP_URL: optional("the mail server, smtp:// or smtps://", smtpUrl, undefined),
  AGENTKEYS_BROKER_MAIL_FROM: optional("the From address of mails", mailFrom, "AgentKeys <agentkeys@localhost>"),
  AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY: optional("encrypts the signing keys; 64 hex characters", key32, undefined),
  AGENTKEYS_BROKER_AUDIENCES: optional("for whom OIDC JWTs are made, by commas", audiences, [DEFAULT_AUDIENCE]),
  AGENTKEYS_BROKER_SESSION_RENEWABLE_DAYS: optional("days that a sign-in can be renewed for", integer(1, 365), 30),
  AGENTKEYS_BROKER_OAUTH_PROVIDERS: optional("identity providers: a JSON file, or JSON", oauthProviders, []),
  AGENTKEYS_BROKER_MAILBOX_DORMANT_DAYS: optional(
    "days after which an unused mailbox needs another identity beside it",
    integer(1, 3650),
    DORMANT_AFTER_MS / DAY,
  ),
  AGENTKEYS_BROKER_ETHEREUM_RPC_URL: optional(
    "an EVM node's JSON-RPC, for wallets that are contracts",
    rpcUrl,
    undefined,
  ),
  AGENTKEYS_BROKER_HISTORY_DAYS: optional("days that an account's history is kept", integer(1, 3650), 400),
  AGENTKEYS_BROKER_TRUSTED_PROXIES: optional("CIDRs whose X-Forwarded-For is believed", list(cidr), []),
  AGENTKEYS_BROKER_TLS_CERT: optional("PEM file of the certificate chain", fileContents, undefined),
  AGENTKEYS_BROKER_TLS_KEY: optional("PEM file of the certificate's private key", fileContents, undefined),
  AGENTKEYS_BROKER_METRICS_LISTEN: optional("host:port for GET /metrics", listenAddress, undefined),
  AGENTKEYS_BROKER_LOG_LEVEL: optional("how much to log", oneOf("debug", "info", "warn", "error"), "info" as const),
} satisfies Record<string, Setting<unknown>>;

/** What `--help` prints. */
export const brokerHelp = serviceHelp({
  command: "npm run start:broker",
  about: `The broker: signs people in and vouches for their wallets. It holds no wallet key. Off loopback it wants a public https URL, a
mail server and a key that encrypts its signing keys.`,
  settings: declared,
});

/** Reads the environment. @throws SettingsError with a line for each mistake. */
export function readBrokerSettings(env: Environment): BrokerSettings {
  const values = readSettings(env, declared, settingNames);
  const {
    AGENTKEYS_BROKER_LISTEN: listen,
    AGENTKEYS_BROKER_PUBLIC_URL: publicUrl,
    AGENTKEYS_BROKER_SMTP_URL: smtp,
    AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY: keyEncryptionKey,
    AGENTKEYS_BROKER_ETHEREUM_RPC_URL: ethereumRpcUrl,
    AGENTKEYS_BROKER_TLS_CERT: cert,
    AGENTKEYS_BROKER_TLS_KEY: key,
    AGENTKEYS_BROKER_METRICS_LISTEN: metricsListen,
  } = values;
  const problems: string[] = [];
  // Behind a proxy on this machine it listens on loopback, and yet the world reaches it by its public URL.
  const reachedBy = !isLoopback(listen.host)
    ? "AGENTKEYS_BROKER_LISTEN"
    : publicUrl !== undefined && !isLoopback(new URL(publicUrl).hostname)
      ? "AGENTKEYS_BROKER_PUBLIC_URL"
      : undefined;
  if (reachedBy !== undefined) {
    const needed = {
      AGENTKEYS_BROKER_PUBLIC_URL: publicUrl,
      AGENTKEYS_BROKER_SMTP_URL: smtp,
      AGENTKEYS_BROKER_MAIL_FROM: env["AGENTKEYS_BROKER_MAIL_FROM"] || undefined,
      AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY: keyEncryptionKey,
    };
    for (const [name, value] of Object.entries(needed)) {
      if (value === undefined) {
        problems.push(`${name} must be set, since ${reachedBy} is not a loopback address`);
      }
    }
  }
  if (publicUrl?.startsWith("http:") === true && !isLoopback(new URL(publicUrl).hostname)) {
    problems.push("AGENTKEYS_BROKER_PUBLIC_URL must be https, except on loopback");
  }
  if ((cert === undefined) !== (key === undefined)) {
    problems.push("AGENTKEYS_BROKER_TLS_CERT and AGENTKEYS_BROKER_TLS_KEY must be set together");
  } else if (cert !== undefined && !isKeyPair(cert, key)) {
    problems.push("AGENTKEYS_BROKER_TLS_CERT and AGENTKEYS_BROKER_TLS_KEY must be PEM files that belong together");
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return {
    listen,
    store: values.AGENTKEYS_BROKER_STORE,
    clientId: values.AGENTKEYS_CLIENT_ID,
    mailFrom: values.AGENTKEYS_BROKER_MAIL_FROM,
    audiences: values.AGENTKEYS_BROKER_AUDIENCES,
    renewableMs: values.AGENTKEYS_BROKER_SESSION_RENEWABLE_DAYS * DAY,
    providers: values.AGENTKEYS_BROKER_OAUTH_PROVIDERS,
    dormantAfterMs: values.AGENTKEYS_BROKER_MAILBOX_DORMANT_DAYS * DAY,
    historyMs: values.AGENTKEYS_BROKER_HISTORY_DAYS * DAY,
    trustedProxies: values.AGENTKEYS_BROKER_TRUSTED_PROXIES,
    logLevel: values.AGENTKEYS_BROKER_LOG_LEVEL,
    ...(publicUrl !== undefined && { publicUrl }),
    ...(smtp && { smtpUrl: smtp }),
    ...(keyEncryptionKey && { keyEncryptionKey }),
    ...(ethereumRpcUrl && { ethereumRpcUrl }),
    ...(metricsListen && { metricsListen }),
    ...(cert && key && { tls: { cert, key } }),
  };
}

function clientId(value: string): string {
  if (!/^[!-~]{1,64}$/.test(value)) throw new SettingError("must be 1 to 64 printable ASCII characters without spaces");
  return value;
}

function smtpUrl(value: string): Secret {
  if (!URL.canParse(value) || !/^smtps?:$/.test(new URL(value).protocol) || new URL(value).hostname === "") {
    throw new SettingError("must be a URL such as smtps://user:password@mail.example.com:465");
  }
  return new Secret(value);
}

function rpcUrl(value: string): Secret {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const safe = url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url.hostname));
  if (!safe || url.username !== "") {
    throw new SettingError("must be an https URL, such as https://node.example/v1/key (http on loopback only)");
  }
  return new Secret(value);
}

function key32(value: string): Secret<Uint8Array> {
  if (!/^[0-9a-fA-F]{64}$/.test(value)) {
    throw new SettingError("must be 32 bytes as 64 hex characters, for example from: openssl rand -hex 32");
  }
  return new Secret(Uint8Array.from(Buffer.from(value, "hex")));
}

function audiences(value: string): string[] {
  const given = list((item) => item)(value);
  if (given.length === 0 || !given.every((item) => /^[!-~]{1,255}$/.test(item))) {
    throw new SettingError("must be client ids of 1 to 255 printable characters, separated by commas");
  }
  return given;
}

/** What stands in tokens as `iss` is compared letter by letter, so there must be one way to write it: the one URLs are normalised to. */
function issuer(value: string): string {
  const url = originUrl(value);
  const normal = new URL(url).href.replace(/\/$/, "");
  if (url !== normal) throw new SettingError(`must be written as ${normal}`);
  return url;
}

function storeFile(value: string): string {
  if (value.startsWith(":") || /^[a-z]{2,}:/i.test(value)) throw new SettingError("must be the path of a file");
  return value;
}

function mailFrom(value: string): string {
  const address = /^[^<>\r\n]*<([^<>]+)>$/.exec(value)?.[1] ?? value;
  try {
    parseEmail(address);
  } catch {
    throw new SettingError("must be an address, or a name and an address: AgentKeys <agentkeys@example.com>");
  }
  return value;
}

function cidr(value: string): string {
  const [address = "", bits = "0", ...rest] = value.split("/");
  const longest = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  if (rest.length > 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > longest) {
    throw new SettingError("must be addresses or networks such as 10.0.0.0/8, separated by commas");
  }
  return value;
}

function isKeyPair(cert: Buffer, key: Buffer | undefined): boolean {
  try {
    createSecureContext({ cert, key });
    return true;
  } catch {
    return false;
  }
}
