import { createPublicKey, type KeyObject } from "node:crypto";
import { parseArgs } from "node:util";

import { type Environment, readSettings, type Setting, SettingError, SettingsError } from "@agentkeys/lib/settings";
import {
  baseUrl,
  fileContents,
  isLoopback,
  integer,
  list,
  type ListenAddress,
  listenAddress,
  oneOf,
  optional,
  originUrl,
  required,
  text,
} from "@agentkeys/lib/settings/kinds";
import { settingNames } from "@agentkeys/lib/settings/names";
import { type Approval, parseApprovals, parseTpmAddress, type TpmAddress } from "@agentkeys/lib/tpm2";

/** What the TEE worker is started with. */
export interface TeeSettings {
  listen: ListenAddress;
  /** Whose sessions are accepted: a TEE never signs for strangers. */
  broker: { url: string; issuer: string };
  /** The URL that callers use, for the `htu` of their DPoP proofs; absent: the address listened on. */
  publicUrl?: string;
  /** What the worker is called: the origin of its sign log. */
  signer: string;
  /** The folder with the sealed state and the sign log. Nothing in it is secret. */
  stateFolder: string;
  tpm: TpmAddress;
  /** Where the root key is while the worker runs. */
  rootKey: "memory" | "tpm";
  /** For which code the TPM opens it: exactly the code that sealed it, or what a release key approves. */
  seal: { pcrs: readonly number[] } | { releaseKey: KeyObject; approvals: readonly Approval[] };
  /** Which PCRs the evidence is about. */
  quotedPcrs: readonly number[];
  /** Certificates (PEM) above the TPM's own, for callers that pin the maker's root. */
  ekIssuers?: Buffer;
  /** Whether other messages are signed than sign-ins that the broker asked for; shows in the evidence. */
  generalMessages: boolean;
  /** How often at most the TPM's counter is increased for the log, in milliseconds. */
  countEveryMs: number;
  logLevel: string;
}

/** What a person says once, on the command line: never kept where the next start would find it. */
export interface TeeFlags {
  allowGenesis: boolean;
  acceptRollback?: bigint;
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
  AGENTKEYS_KEYS_LOG_LEVEL: optional("how much to log", oneOf("debug", "info", "warn", "error"), "info" as const),
  AGENTKEYS_TEE_SIGNER: required("what this worker is called, for example signer-1.example.com", signerName),
  AGENTKEYS_TEE_STATE_DIR: required("the folder with the sealed state and the sign log", text),
  AGENTKEYS_TEE_TPM: optional("where the TPM is", tpmAddress, { device: "/dev/tpmrm0" }),
  AGENTKEYS_TEE_ROOT_KEY: optional(
    "where the root key is: in memory or in the TPM",
    oneOf("memory", "tpm"),
    "memory" as const,
  ),
  AGENTKEYS_TEE_SEAL_PCRS: optional("the PCRs that the master secret is sealed to", list(pcr), undefined),
  AGENTKEYS_TEE_RELEASE_KEY: optional(
    "PEM file of the key whose releases open the master secret",
    publicKey,
    undefined,
  ),
  AGENTKEYS_TEE_APPROVALS: optional("file with the approvals of that key", approvals, undefined),
  AGENTKEYS_TEE_QUOTED_PCRS: optional("the PCRs that the evidence is about", list(pcr), undefined),
  AGENTKEYS_TEE_EK_ISSUERS: optional("PEM file of the certificates above the TPM's own", fileContents, undefined),
  AGENTKEYS_TEE_GENERAL_MESSAGES: optional(
    "whether other messages than sign-ins are signed",
    oneOf("yes", "no"),
    "no" as const,
  ),
  AGENTKEYS_TEE_COUNT_EVERY_MS: optional("how often the TPM counts for the log", integer(0, 3_600_000), 1000),
} satisfies Record<string, Setting<unknown>>;

/** What the development backend is set up with, and what it would mean here. */
const foreign: Readonly<Record<string, string>> = {
  DEV_KEY_SERVICE_MASTER_SECRET: "the TEE worker makes its master secret itself, and nobody else may have it",
  AGENTKEYS_KEYS_TLS_CERT: "the TEE worker makes its TLS key itself at every start",
  AGENTKEYS_KEYS_TLS_KEY: "the TEE worker makes its TLS key itself at every start",
  AGENTKEYS_KEYS_METRICS_LISTEN: "the TEE worker has no second port",
  AGENTKEYS_KEYS_SIGN_LOG: "the TEE worker keeps its sign log in AGENTKEYS_TEE_STATE_DIR",
};

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
  const [pcrs, releaseKey, approved] = [
    values.AGENTKEYS_TEE_SEAL_PCRS,
    values.AGENTKEYS_TEE_RELEASE_KEY,
    values.AGENTKEYS_TEE_APPROVALS,
  ];
  if (publicUrl === undefined && !isLoopback(listen.host)) {
    problems.push("AGENTKEYS_KEYS_PUBLIC_URL must be set, since AGENTKEYS_KEYS_LISTEN is not a loopback address");
  }
  if (publicUrl?.startsWith("https://") === false) {
    problems.push("AGENTKEYS_KEYS_PUBLIC_URL must begin with https://: the TEE worker speaks TLS 1.3 only");
  }
  if ((pcrs === undefined) === (releaseKey === undefined)) {
    problems.push(
      "one of AGENTKEYS_TEE_SEAL_PCRS and AGENTKEYS_TEE_RELEASE_KEY must be set, and not both: for which code the master secret opens",
    );
  }
  if ((releaseKey === undefined) !== (approved === undefined)) {
    problems.push("AGENTKEYS_TEE_RELEASE_KEY and AGENTKEYS_TEE_APPROVALS must be set together");
  }
  const seal =
    releaseKey !== undefined && approved !== undefined ? { releaseKey, approvals: approved } : { pcrs: pcrs ?? [] };
  if ("pcrs" in seal && seal.pcrs.length === 0 && pcrs !== undefined) {
    problems.push("AGENTKEYS_TEE_SEAL_PCRS names no PCR: the master secret would open for any code");
  }
  if (problems.length > 0) throw new SettingsError(problems);
  const sealedTo = "pcrs" in seal ? seal.pcrs : [...new Set(seal.approvals.flatMap(({ pcrs: of }) => [...of.keys()]))];
  const ekIssuers = values.AGENTKEYS_TEE_EK_ISSUERS;
  return {
    listen,
    broker: { url, issuer },
    ...(publicUrl !== undefined && { publicUrl }),
    signer: values.AGENTKEYS_TEE_SIGNER,
    stateFolder: values.AGENTKEYS_TEE_STATE_DIR,
    tpm: values.AGENTKEYS_TEE_TPM,
    rootKey: values.AGENTKEYS_TEE_ROOT_KEY,
    seal,
    quotedPcrs: values.AGENTKEYS_TEE_QUOTED_PCRS ?? sealedTo,
    ...(ekIssuers !== undefined && { ekIssuers }),
    generalMessages: values.AGENTKEYS_TEE_GENERAL_MESSAGES === "yes",
    countEveryMs: values.AGENTKEYS_TEE_COUNT_EVERY_MS,
    logLevel: values.AGENTKEYS_KEYS_LOG_LEVEL,
  };
}

/** Reads the command line. @throws SettingsError */
export function readTeeFlags(args: readonly string[]): TeeFlags {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { "allow-genesis": { type: "boolean", default: false }, "accept-rollback": { type: "string" } },
    });
    const counter = values["accept-rollback"];
    if (counter !== undefined && !/^\d{1,20}$/.test(counter)) {
      throw new SettingsError(["--accept-rollback must name the counter that the refusal names"]);
    }
    return {
      allowGenesis: values["allow-genesis"],
      ...(counter !== undefined && { acceptRollback: BigInt(counter) }),
    };
  } catch (error) {
    if (error instanceof SettingsError) throw error;
    throw new SettingsError(["the command line may only say --allow-genesis, or --accept-rollback=COUNTER"]);
  }
}

function signerName(name: string): string {
  if (/^[!-*,-~]{1,255}$/.test(name)) return name;
  throw new SettingError("must be a name without spaces and plus signs, for example signer-1.example.com");
}

function tpmAddress(value: string): TpmAddress {
  const address = parseTpmAddress(value);
  if (address !== undefined) return address;
  throw new SettingError("must be device:/dev/tpmrm0, unix:/path/of/a/socket or tcp:host:port");
}

function pcr(value: string): number {
  return integer(0, 23)(value);
}

function publicKey(path: string): KeyObject {
  const pem = fileContents(path);
  try {
    return createPublicKey(pem);
  } catch {
    throw new SettingError(`names a file that holds no public key in PEM: ${path}`);
  }
}

function approvals(path: string): readonly Approval[] {
  const file = fileContents(path).toString("utf8");
  try {
    return parseApprovals(file);
  } catch (error) {
    throw new SettingError(`names a file that holds no approvals: ${error instanceof Error ? error.message : path}`);
  }
}
