import { type SettingValue, VERIFIER_KEY } from "../evidence/claims.ts";
import type { NonEmpty } from "../evidence/index.ts";
import { parseVerifierKey } from "../tlog/index.ts";

import { type MeasuredCodes, readMeasuredCodes } from "./measured-code.ts";
import { type PolicyPlatform, readPlatform } from "./platforms.ts";
import { invalid, PolicyFields } from "./policy-fields.ts";
import { readRevocationLists, type RevocationLists } from "./snp-revocation.ts";

/**
 * What a key service must prove of itself before this machine sends it anything. There is no word in it that leaves a check out: what
 * is not demanded cannot be written, and what is written is demanded.
 */
export interface Policy {
  /** What the worker is called: the origin of its sign log. */
  signer: string;
  /**
   * How what is attested is tied to the connection: by the exporter of the very TLS connection (RFC 9266). A worker behind a balancer
   * that ends TLS would need its requests sealed to a key of its own (HPKE, RFC 9180); there is no such value yet.
   */
  channel: "tls-exporter";
  /** How old claims and evidence may be. */
  maxEvidenceAgeMs: number;
  /** How long an appraisal holds on a connection that is kept in use. */
  reattestAfterMs: number;
  /** How far this machine's clock may be behind the worker's. */
  clockSkewMs: number;
  /** Which worker: the keys derived from its master secret (`ed25519:` and hex). */
  identityKeys: NonEmpty<string>;
  /** What the worker must have been set to, word for word. */
  settings: Readonly<Record<string, SettingValue>>;
  /** The lowest security version that its seal may open for: releases before it have to be retired. Absent where the policy says nothing of it. */
  minSecurityVersion?: number;
  /** The verifier key of the sign log (c2sp.org/signed-note); its name is `signer`. */
  logKey: string;
  /** Which hardware, code and machine; evidence has to satisfy one of them. */
  platforms: NonEmpty<PolicyPlatform>;
}

/** What the files hold that a policy names, by the place where it names them. */
export interface NamedFiles {
  measured: MeasuredCodes;
  lists: RevocationLists;
}

/** Paths are relative to `folder`; `place` is where the policy stands in something larger, with a full stop. @throws PolicyRefused */
export async function readNamedFiles(policy: unknown, folder: string, place = ""): Promise<NamedFiles> {
  return {
    measured: await readMeasuredCodes(policy, folder, place),
    lists: await readRevocationLists(policy, folder, place),
  };
}

/** Reads a policy, which may be a part of something larger. @throws PolicyRefused POLICY_INVALID with the place and what should be there */
export function readPolicy(fields: PolicyFields, files: NamedFiles): Policy {
  const version = fields.take("version");
  if (version !== 1)
    throw invalid(fields.at("version"), "must be 1: other forms are not known to this version of agentkeys");
  const signer = fields.text("signer", /^[!-*,-~]{1,255}$/, "a name without spaces and plus signs");
  const channel = fields.word("channel", "tls-exporter");
  const maxEvidenceAgeMs = 1000 * fields.integer("max_evidence_age_s", 1, 3600);
  const reattestAfterMs = 1000 * fields.integer("reattest_every_s", 1, 86_400);
  const clockSkewMs = 1000 * fields.integer("clock_skew_s", 0, 600);
  const identityKeys = fields.texts(
    "identity_keys",
    /^ed25519:[0-9a-f]{64}$/,
    "ed25519: and 64 lower-case hex characters",
  );
  const settings = readPolicySettings(fields.object("settings"));
  const asked = fields.names().includes("min_security_version");
  const minSecurityVersion = asked ? fields.integer("min_security_version", 0, 65_535) : undefined;
  const log = fields.object("log");
  const logKey = readLogKey(log, signer);
  log.end();
  const age = { maxAgeMs: maxEvidenceAgeMs, clockSkewMs };
  const platforms = fields.list("platforms", (path, item) =>
    readPlatform(new PolicyFields(path, item), { age, ...files }),
  );
  fields.end();
  return {
    ...{ signer, channel, maxEvidenceAgeMs, reattestAfterMs, clockSkewMs },
    ...{ identityKeys, settings, logKey, platforms },
    ...(minSecurityVersion !== undefined && { minSecurityVersion }),
  };
}

function readLogKey(log: PolicyFields, signer: string): string {
  const text = log.text("vkey", VERIFIER_KEY, "a signed note's verifier key: name+id+key");
  try {
    if (parseVerifierKey(text).name === signer) return text;
  } catch {
    throw invalid(log.at("vkey"), "must be a signed note's verifier key: its id is not that of its name and key");
  }
  throw invalid(log.at("vkey"), "must be named as signer is");
}

/** What a worker must have been set to, as a policy writes it. @throws PolicyRefused POLICY_INVALID */
export function readPolicySettings(fields: PolicyFields): Record<string, SettingValue> {
  const settings: Record<string, SettingValue> = {};
  for (const name of fields.names()) {
    const value = fields.take(name);
    const isList = Array.isArray(value) && value.every((item) => typeof item === "string");
    if (!isList && !["string", "boolean", "number"].includes(typeof value)) {
      throw invalid(fields.at(name), "must be text, a number, true or false, or a list of texts");
    }
    settings[name] = value as SettingValue;
  }
  return settings;
}
