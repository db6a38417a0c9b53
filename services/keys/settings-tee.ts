import { parseArgs } from "node:util";

import { type Environment, readSettings, type Setting, SettingError, SettingsError } from "@agentkeys/lib/settings";
import { serviceHelp } from "@agentkeys/lib/settings/help";
import {
  baseUrl,
  fileContents,
  isLoopback,
  integer,
  type ListenAddress,
  listenAddress,
  oneOf,
  optional,
  originUrl,
  required,
  text,
} from "@agentkeys/lib/settings/kinds";
import { settingNames } from "@agentkeys/lib/settings/names";

import type { SettingsFile } from "./backends/tee/backup/plan.ts";
import { type HardwareSettings, hardwareSettings, readHardwareSettings } from "./settings-tee-hardware.ts";

/** What the TEE worker is started with. */
export interface TeeSettings extends HardwareSettings {
  listen: ListenAddress;
  /** Whose sessions are accepted: a TEE never signs for strangers. */
  broker: { url: string; issuer: string };
  /** DEV ONLY: whether the broker is spoken to in cleartext over a network. Shows in the evidence. */
  insecureBroker: boolean;
  /** The URL that callers use, for the `htu` of their DPoP proofs; absent: the address listened on. */
  publicUrl?: string;
  /** What the worker is called: the origin of its sign log. */
  signer: string;
  /** The folder with the sealed state and the sign log. Nothing in it is secret. */
  stateFolder: string;
  /** Whether other messages are signed than sign-ins that the broker asked for; shows in the evidence. */
  generalMessages: boolean;
  /** The file that says whom this worker's master secret is backed up to; absent: to nobody. */
  backup?: SettingsFile;
  /** The file that says whose shares this worker keeps; absent: nobody's. */
  custody?: SettingsFile;
  /** How often at most the TPM's counter is increased for the log, in milliseconds. */
  countEveryMs: number;
  /** Where what is counted can be scraped, on this machine only; absent: nowhere. */
  metricsListen?: ListenAddress;
  logLevel: string;
}

/** What a person says once, on the command line: never kept where the next start would find it. */
export interface TeeFlags {
  allowGenesis: boolean;
  acceptRollback?: bigint;
  /** A security version: releases of lower ones open the seal no more, once this start has come to its end. */
  retireReleasesBefore?: number;
  /** The file with the recovery ticket: where there is no state, the master secret is brought back from its backup. */
  recoveryTicket?: string;
}

const declared = {
  AGENTKEYS_KEYS_LISTEN: optional("host:port to listen on", listenAddress, { host: "127.0.0.1", port: 8092 }),
  AGENTKEYS_KEYS_BROKER_URL: required("the broker whose sessions are accepted", baseUrl),
  AGENTKEYS_KEYS_BROKER_ISSUER: optional("the broker's public URL, where it is another", baseUrl, undefined),
  AGENTKEYS_KEYS_PUBLIC_URL: optional(
    "the URL that callers use, where it is not the listen address",
    originUrl,
    undefined,
  ),
  AGENTKEYS_KEYS_METRICS_LISTEN: optional("loopback host:port for GET /metrics", listenAddress, undefined),
  AGENTKEYS_KEYS_LOG_LEVEL: optional("how much to log", oneOf("debug", "info", "warn", "error"), "info" as const),
  AGENTKEYS_TEE_SIGNER: required("what this worker is called, for example signer-1.example.com", signerName),
  AGENTKEYS_TEE_STATE_DIR: required("the folder with the sealed state and the sign log", text),
  AGENTKEYS_TEE_GENERAL_MESSAGES: optional(
    "whether other messages than sign-ins are signed",
    oneOf("yes", "no"),
    "no" as const,
  ),
  AGENTKEYS_TEE_COUNT_EVERY_MS: optional("how often the TPM counts for the log", integer(0, 3_600_000), 1000),
  AGENTKEYS_TEE_BACKUP: optional("file that says whom the master secret is backed up to", namedFile, undefined),
  AGENTKEYS_TEE_CUSTODY: optional("file that says whose shares are kept", namedFile, undefined),
  AGENTKEYS_TEE_INSECURE_BROKER: optional(
    "DEV ONLY: whether the broker may be spoken to in cleartext",
    oneOf("development"),
    undefined,
  ),
  ...hardwareSettings,
} satisfies Record<string, Setting<unknown>>;

/** What the development backend is set up with, and what it would mean here. */
const foreign: Readonly<Record<string, string>> = {
  DEV_KEY_SERVICE_MASTER_SECRET: "the TEE worker makes its master secret itself, and nobody else may have it",
  AGENTKEYS_KEYS_TLS_CERT: "the TEE worker makes its TLS key itself at every start",
  AGENTKEYS_KEYS_TLS_KEY: "the TEE worker makes its TLS key itself at every start",
  AGENTKEYS_KEYS_SIGN_LOG: "the TEE worker keeps its sign log in AGENTKEYS_TEE_STATE_DIR",
};

/** What `--help` prints. */
export const teeHelp = serviceHelp({
  command: "node dist/keys-tee/main.js",
  about: `The key service as a TEE worker: its master secret is made inside, sealed to the measured code, and seen by nobody. docs/tee.md says
how it is set up. Exit status 42 says that the seal, the disk or the log is not what it should be, and its log why.`,
  flags: {
    "--allow-genesis": "make a master secret: at the very first start, and refused where there was one",
    "--accept-rollback=NUMBER": "serve with an older disk, once; the refusal names the number",
    "--retire-releases-before=VERSION": "from now on, open the seal for no release of a lower security version",
    "--recover=TICKET_FILE": "bring the master secret back from its custodians, on a machine that the ticket names",
  },
  settings: declared,
});

/** Reads the environment. @throws SettingsError with a line for each mistake; the process then exits with `EX_CONFIG`. */
export function readTeeSettings(env: Environment): TeeSettings {
  const problems = Object.entries(foreign)
    .filter(([name]) => (env[name] ?? "") !== "")
    .map(([name, why]) => `${name} must not be set: ${why}`);
  const values = problems.length === 0 ? readSettings(env, declared, settingNames) : undefined;
  if (values === undefined) throw new SettingsError(problems);
  const listen = values.AGENTKEYS_KEYS_LISTEN;
  const publicUrl = values.AGENTKEYS_KEYS_PUBLIC_URL;
  const url = values.AGENTKEYS_KEYS_BROKER_URL;
  const issuer = values.AGENTKEYS_KEYS_BROKER_ISSUER ?? url;
  if (publicUrl === undefined && !isLoopback(listen.host)) {
    problems.push("AGENTKEYS_KEYS_PUBLIC_URL must be set, since AGENTKEYS_KEYS_LISTEN is not a loopback address");
  }
  if (publicUrl?.startsWith("https://") === false) {
    problems.push("AGENTKEYS_KEYS_PUBLIC_URL must begin with https://: the TEE worker speaks TLS 1.3 only");
  }
  const production = env["NODE_ENV"] === "production";
  const insecureBroker = readInsecureBroker(values, { production, problems });
  // It would let anybody answer in the place of the broker, and of AWS.
  if (env["NODE_TLS_REJECT_UNAUTHORIZED"] === "0") {
    problems.push(
      "NODE_TLS_REJECT_UNAUTHORIZED must not be 0: whoever is on the way could answer in the broker's place",
    );
  }
  const opening = /--(?:inspect|heap|cpu-prof|report|diagnostic|abort-on)/;
  if (opening.test(env["NODE_OPTIONS"] ?? "")) {
    problems.push(
      "NODE_OPTIONS must not open the process's memory to a debugger or a file: the master secret is in it",
    );
  }
  const metricsListen = values.AGENTKEYS_KEYS_METRICS_LISTEN;
  if (metricsListen !== undefined && !isLoopback(metricsListen.host)) {
    problems.push("AGENTKEYS_KEYS_METRICS_LISTEN must be a loopback address: the worker's only other port is attested");
  }
  const hardware = readHardwareSettings(values, { production, problems });
  if (problems.length > 0) throw new SettingsError(problems);
  return {
    listen,
    broker: { url, issuer },
    insecureBroker,
    ...(publicUrl !== undefined && { publicUrl }),
    signer: values.AGENTKEYS_TEE_SIGNER,
    stateFolder: values.AGENTKEYS_TEE_STATE_DIR,
    ...hardware,
    generalMessages: values.AGENTKEYS_TEE_GENERAL_MESSAGES === "yes",
    countEveryMs: values.AGENTKEYS_TEE_COUNT_EVERY_MS,
    ...(values.AGENTKEYS_TEE_BACKUP && { backup: values.AGENTKEYS_TEE_BACKUP }),
    ...(values.AGENTKEYS_TEE_CUSTODY && { custody: values.AGENTKEYS_TEE_CUSTODY }),
    ...(metricsListen && { metricsListen }),
    logLevel: values.AGENTKEYS_KEYS_LOG_LEVEL,
  };
}

/**
 * Whoever answers in the broker's place says whose sessions are good, and can have anybody's wallet sign: the network between is the
 * operator's, so that only TLS or this very machine will do.
 */
function readInsecureBroker(
  values: { AGENTKEYS_KEYS_BROKER_URL: string; AGENTKEYS_TEE_INSECURE_BROKER: "development" | undefined },
  { production, problems }: { production: boolean; problems: string[] },
): boolean {
  const { protocol, hostname } = new URL(values.AGENTKEYS_KEYS_BROKER_URL);
  const cleartext = protocol === "http:" && !isLoopback(hostname);
  const allowed = values.AGENTKEYS_TEE_INSECURE_BROKER !== undefined;
  if (allowed && production) {
    problems.push("AGENTKEYS_TEE_INSECURE_BROKER is for development, and NODE_ENV is production");
  } else if (allowed && !cleartext) {
    problems.push(
      "AGENTKEYS_TEE_INSECURE_BROKER is of no use: the broker is not spoken to in cleartext over a network",
    );
  } else if (cleartext && !allowed) {
    problems.push(
      "AGENTKEYS_KEYS_BROKER_URL must begin with https://, except on loopback: whoever answers in the broker's place could sign for anyone",
    );
  }
  return cleartext;
}

/** Reads the command line. @throws SettingsError */
export function readTeeFlags(args: readonly string[]): TeeFlags {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        "allow-genesis": { type: "boolean", default: false },
        "accept-rollback": { type: "string" },
        "retire-releases-before": { type: "string" },
        recover: { type: "string" },
      },
    });
    const { recover } = values;
    if (recover !== undefined && values["allow-genesis"]) {
      throw new SettingsError([
        "--recover brings a master secret back, --allow-genesis makes another one: say one of them",
      ]);
    }
    const counter = values["accept-rollback"];
    if (counter !== undefined && !/^\d{1,20}$/.test(counter)) {
      throw new SettingsError(["--accept-rollback must name the counter that the refusal names"]);
    }
    const retireBefore = values["retire-releases-before"];
    if (retireBefore !== undefined && !/^\d{1,5}$/.test(retireBefore)) {
      throw new SettingsError(["--retire-releases-before must name a security version"]);
    }
    return {
      allowGenesis: values["allow-genesis"],
      ...(counter !== undefined && { acceptRollback: BigInt(counter) }),
      ...(retireBefore !== undefined && { retireReleasesBefore: Number(retireBefore) }),
      ...(recover !== undefined && { recoveryTicket: recover }),
    };
  } catch (error) {
    if (error instanceof SettingsError) throw error;
    throw new SettingsError([
      "the command line may only say --allow-genesis, --recover=TICKET_FILE, --accept-rollback=COUNTER, or --retire-releases-before=VERSION",
    ]);
  }
}

function namedFile(path: string): SettingsFile {
  return { path, text: fileContents(path).toString("utf8") };
}

function signerName(name: string): string {
  if (/^[!-*,-~]{1,255}$/.test(name)) return name;
  throw new SettingError("must be a name without spaces and plus signs, for example signer-1.example.com");
}
