import { type Environment, readSettings, type Setting, SettingError, SettingsError } from "@agentkeys/lib/settings";
import {
  baseUrl,
  integer,
  isLoopback,
  type ListenAddress,
  listenAddress,
  oneOf,
  optional,
  text,
} from "@agentkeys/lib/settings/kinds";
import { settingNames } from "@agentkeys/lib/settings/names";

import { Problem } from "./problem.ts";

/** What the `agentkeys` program is set up with. */
export interface Settings {
  brokerUrl: string;
  keysUrl: string;
  /** The file with what the key service must prove of itself before anything is sent to it; absent: nothing. */
  attestationPolicy?: string;
  /** The state folder; absent: the XDG one. */
  stateDir?: string;
  aws: AwsSettings;
  /** Where the daemon serves credentials; loopback. */
  listen: ListenAddress;
  logLevel: LogLevel;
}

export interface AwsSettings {
  /** The role that credentials are for; absent: no credentials can be had. */
  roleArn?: string;
  /** How long credentials live, in seconds. */
  sessionSeconds: number;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

/** The name of the setting that errors refer to most. */
export const ROLE_ARN = "AGENTKEYS_AWS_ROLE_ARN";

/** The name of the setting that attestation depends on. */
export const ATTESTATION_POLICY = "AGENTKEYS_ATTESTATION_POLICY";

const declared = {
  AGENTKEYS_BROKER_URL: optional("the broker", serviceUrl, "http://127.0.0.1:8091"),
  AGENTKEYS_KEYS_URL: optional("the key service", serviceUrl, "http://127.0.0.1:8092"),
  [ATTESTATION_POLICY]: optional("the file with what the key service must prove of itself", text, undefined),
  AGENTKEYS_STATE_DIR: optional("the folder that holds this machine's session", text, undefined),
  [ROLE_ARN]: optional("the IAM role that credentials are for", roleArn, undefined),
  // STS's own limits; a role may allow less than the upper one.
  AGENTKEYS_AWS_SESSION_SECONDS: optional("how long AWS credentials live", integer(900, 43_200), 3600),
  AGENTKEYS_LISTEN: optional("host:port where the daemon serves credentials", loopbackAddress, {
    host: "127.0.0.1",
    port: 8094,
  }),
  AGENTKEYS_LOG_LEVEL: optional("how much to log", oneOf("debug", "info", "warn", "error"), "info" as const),
} satisfies Record<string, Setting<unknown>>;

/** Reads the environment. @throws Problem SETTINGS with a line for each mistake */
export function readDaemonSettings(env: Environment): Settings {
  try {
    const values = readSettings(env, declared, settingNames);
    const attestationPolicy = values[ATTESTATION_POLICY];
    // Elsewhere nothing counts as not set. Here that would be to demand no proof, because of a variable that somebody misspelt.
    if (env[ATTESTATION_POLICY] === "") {
      throw new SettingsError([`${ATTESTATION_POLICY} is empty: name the policy, or unset it to demand no proof`]);
    }
    if (attestationPolicy !== undefined && !values.AGENTKEYS_KEYS_URL.startsWith("https://")) {
      throw new SettingsError([
        `AGENTKEYS_KEYS_URL must begin with https:// where ${ATTESTATION_POLICY} is set: what is attested is the TLS connection`,
      ]);
    }
    return {
      brokerUrl: values.AGENTKEYS_BROKER_URL,
      keysUrl: values.AGENTKEYS_KEYS_URL,
      ...(attestationPolicy !== undefined && { attestationPolicy }),
      ...(values.AGENTKEYS_STATE_DIR !== undefined && { stateDir: values.AGENTKEYS_STATE_DIR }),
      aws: {
        ...(values[ROLE_ARN] !== undefined && { roleArn: values[ROLE_ARN] }),
        sessionSeconds: values.AGENTKEYS_AWS_SESSION_SECONDS,
      },
      listen: values.AGENTKEYS_LISTEN,
      logLevel: values.AGENTKEYS_LOG_LEVEL,
    };
  } catch (error) {
    if (error instanceof SettingsError) throw new Problem("SETTINGS", "configuration", error.problems.join("\n"));
    throw error;
  }
}

/** The role, for a command that is of no use without one. @throws Problem SETTINGS */
export function requireRole({ roleArn, sessionSeconds }: AwsSettings): Required<AwsSettings> {
  if (roleArn !== undefined) return { roleArn, sessionSeconds };
  throw new Problem(
    "SETTINGS",
    "configuration",
    `${ROLE_ARN} is not set: it names the IAM role that credentials are for.`,
    {
      remedy: "Set it, for example, to arn:aws:iam::123456789012:role/agentkeys.",
    },
  );
}

/** Tokens come back in answers: over a network nobody else may read them. */
function serviceUrl(value: string): string {
  const url = new URL(baseUrl(value));
  if (url.protocol === "https:" || isLoopback(url.hostname)) return value;
  throw new SettingError("must begin with https://, except on loopback");
}

/** Partitions and account names are not ours to judge: other STS implementations have their own. */
function roleArn(value: string): string {
  if (!/^arn:[\w-]+:iam::[\w-]*:role\/[\w+=,.@/-]+$/.test(value) || value.length < 20 || value.length > 2048) {
    throw new SettingError("must be the ARN of an IAM role, for example arn:aws:iam::123456789012:role/agentkeys");
  }
  return value;
}

/** AWS's SDKs take credentials over plain HTTP from loopback only; nor should anybody else be able to ask. */
function loopbackAddress(value: string): ListenAddress {
  const address = listenAddress(value);
  if (!isLoopback(address.host)) throw new SettingError("must be a loopback address, for example 127.0.0.1:8094");
  return address;
}
