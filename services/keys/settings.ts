import { type Environment, readSettings, type Setting, SettingsError } from "@agentkeys/lib/settings";
import { serviceHelp } from "@agentkeys/lib/settings/help";
import {
  baseUrl,
  fileContents,
  isLoopback,
  type ListenAddress,
  listenAddress,
  oneOf,
  optional,
  originUrl,
  text,
} from "@agentkeys/lib/settings/kinds";
import { settingNames } from "@agentkeys/lib/settings/names";

import { DEV_MASTER_SECRET, parseDevMasterSecret } from "./backends/dev.ts";

/** What the key service is started with. */
export interface KeyServiceSettings {
  listen: ListenAddress;
  /** Absent: it runs, is not ready, and answers SIGNER_DISABLED. Zeroed when the service ends. */
  masterSecret?: Buffer;
  /** Whose sessions are accepted; absent: no sessions, callers on loopback only. */
  broker?: { url: string; issuer: string };
  /** The URL that callers use, for the `htu` of their DPoP proofs; absent: the address listened on. */
  publicUrl?: string;
  /** The file that signatures are recorded in; absent: standard output. */
  signLog?: string;
  /** Where what is counted can be scraped; absent: nowhere. */
  metricsListen?: ListenAddress;
  tls?: { cert: Buffer; key: Buffer };
  logLevel: string;
}

const declared = {
  [DEV_MASTER_SECRET]: optional("DEV ONLY: the master secret, 64 hex characters", parseDevMasterSecret, undefined),
  AGENTKEYS_KEYS_LISTEN: optional("host:port to listen on", listenAddress, { host: "127.0.0.1", port: 8092 }),
  AGENTKEYS_KEYS_BROKER_URL: optional("the broker whose sessions are accepted", baseUrl, undefined),
  AGENTKEYS_KEYS_BROKER_ISSUER: optional("the broker's public URL, where it is another", baseUrl, undefined),
  AGENTKEYS_KEYS_PUBLIC_URL: optional(
    "the URL that callers use, where it is not the listen address",
    originUrl,
    undefined,
  ),
  AGENTKEYS_KEYS_SIGN_LOG: optional("the file that signatures are recorded in", text, undefined),
  AGENTKEYS_KEYS_TLS_CERT: optional("PEM file of the certificate chain", fileContents, undefined),
  AGENTKEYS_KEYS_TLS_KEY: optional("PEM file of the certificate's private key", fileContents, undefined),
  AGENTKEYS_KEYS_METRICS_LISTEN: optional("host:port for GET /metrics", listenAddress, undefined),
  AGENTKEYS_KEYS_LOG_LEVEL: optional("how much to log", oneOf("debug", "info", "warn", "error"), "info" as const),
} satisfies Record<string, Setting<unknown>>;

/** What `--help` prints. */
export const keyServiceHelp = serviceHelp({
  command: "npm run start:keys",
  about: `The key service, as a DEVELOPMENT backend: its master secret is in its environment. It refuses NODE_ENV=production; the TEE
worker takes its place.`,
  settings: declared,
});

/** Reads the environment. @throws SettingsError with a line for each mistake; the process then exits with `EX_CONFIG`. */
export function readKeyServiceSettings(env: Environment): KeyServiceSettings {
  const values = readSettings(env, declared, settingNames);
  const listen = values.AGENTKEYS_KEYS_LISTEN;
  const brokerUrl = values.AGENTKEYS_KEYS_BROKER_URL;
  const [cert, key] = [values.AGENTKEYS_KEYS_TLS_CERT, values.AGENTKEYS_KEYS_TLS_KEY];
  const problems: string[] = [];
  if (env["NODE_ENV"] === "production") {
    problems.push("NODE_ENV is production: the development key service does not run there; use the TEE worker");
  }
  if (brokerUrl === undefined && !isLoopback(listen.host)) {
    problems.push(
      "AGENTKEYS_KEYS_LISTEN is not a loopback address: then AGENTKEYS_KEYS_BROKER_URL must be set, or anyone could sign",
    );
  }
  const publicUrlSet = values.AGENTKEYS_KEYS_PUBLIC_URL;
  if (brokerUrl === undefined && publicUrlSet !== undefined && !isLoopback(new URL(publicUrlSet).hostname)) {
    problems.push(
      "AGENTKEYS_KEYS_PUBLIC_URL is not a loopback address: then AGENTKEYS_KEYS_BROKER_URL must be set, or anyone could sign",
    );
  }
  if (brokerUrl !== undefined && publicUrlSet === undefined && !isLoopback(listen.host)) {
    problems.push("AGENTKEYS_KEYS_PUBLIC_URL must be set, since AGENTKEYS_KEYS_LISTEN is not a loopback address");
  }
  if (values.AGENTKEYS_KEYS_BROKER_ISSUER !== undefined && brokerUrl === undefined) {
    problems.push("AGENTKEYS_KEYS_BROKER_ISSUER is of no use without AGENTKEYS_KEYS_BROKER_URL");
  }
  if ((cert === undefined) !== (key === undefined)) {
    problems.push("AGENTKEYS_KEYS_TLS_CERT and AGENTKEYS_KEYS_TLS_KEY must be set together");
  }
  if (problems.length > 0) throw new SettingsError(problems);
  const [secret, publicUrl, signLog] = [
    values[DEV_MASTER_SECRET],
    values.AGENTKEYS_KEYS_PUBLIC_URL,
    values.AGENTKEYS_KEYS_SIGN_LOG,
  ];
  return {
    listen,
    logLevel: values.AGENTKEYS_KEYS_LOG_LEVEL,
    ...(secret && { masterSecret: secret }),
    ...(brokerUrl !== undefined && {
      broker: { url: brokerUrl, issuer: values.AGENTKEYS_KEYS_BROKER_ISSUER ?? brokerUrl },
    }),
    ...(publicUrl !== undefined && { publicUrl }),
    ...(values.AGENTKEYS_KEYS_METRICS_LISTEN && { metricsListen: values.AGENTKEYS_KEYS_METRICS_LISTEN }),
    ...(signLog !== undefined && { signLog }),
    ...(cert && key && { tls: { cert, key } }),
  };
}
