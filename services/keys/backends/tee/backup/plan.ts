import { createPublicKey, type KeyObject } from "node:crypto";
import { dirname } from "node:path";

import { SHA256 } from "@agentkeys/lib/attested/pin-fields";
import { readPlatform } from "@agentkeys/lib/attested/platforms";
import {
  type NamedFiles,
  type Policy,
  readNamedFiles,
  readPolicy,
  readPolicySettings,
} from "@agentkeys/lib/attested/policy";
import { invalid, PolicyFields } from "@agentkeys/lib/attested/policy-fields";
import { parsePolicyJson } from "@agentkeys/lib/attested/policy-json";
import type { NonEmpty, Platform } from "@agentkeys/lib/evidence";
import type { TicketMachine } from "@agentkeys/lib/evidence/recovery-ticket";
import { keyFingerprint } from "@agentkeys/lib/evidence/release-key";
import { originUrl } from "@agentkeys/lib/settings/kinds";

import { MAX_SHARES } from "./manifest.ts";
import type { PeerPolicy } from "./peer-evidence.ts";

/** A file that the settings name, as it was read. Measurements that it names are relative to its folder. */
export interface SettingsFile {
  path: string;
  text: string;
}

/** Whom a worker gives shares of its master secret, and gets them back from. Part of what is measured. */
export interface BackupPlan {
  /** How many of the custodians it takes. */
  threshold: number;
  /** Whose tickets bring the shares back. */
  recoveryKey: KeyObject;
  custodians: NonEmpty<Custodian>;
}

/** A worker that keeps a share. */
export interface Custodian {
  url: string;
  policy: Policy;
  /** `ed25519:` and hex: the one that the policy demands. */
  identityKey: string;
}

/** Of whose shares a worker is the custodian. Part of what is measured. */
export interface CustodyOwner {
  /** What the owner is called. A backup of another one is none of this owner's, whatever key it is under. */
  signer: string;
  recoveryKey: KeyObject;
  recoveryKeySha256: string;
  clockSkewMs: number;
  /** What the owner has to prove when it deposits. */
  depositor: PeerPolicy;
  /** What a machine has to prove that a ticket names: the same, on that machine. `undefined` for one of a kind that is not listed. */
  recoverer: (machine: TicketMachine) => PeerPolicy | undefined;
}

/** Reads the file of AGENTKEYS_TEE_BACKUP. @throws PolicyRefused */
export async function readBackupPlan({ path, text }: SettingsFile): Promise<BackupPlan> {
  const json = parsePolicyJson(text);
  const fields = versioned(json);
  const recoveryKey = readRecoveryKey(fields);
  const files = await filesOf(rawItems(json, "custodians"), (item, i) =>
    readFiles(member(item, "policy"), path, `custodians[${i}].policy.`),
  );
  const custodians = fields.list("custodians", (place, item): Custodian => {
    const each = new PolicyFields(place, item);
    const url = readUrl(each);
    const policy = readPolicy(each.object("policy"), files);
    each.end();
    const [identityKey, ...others] = policy.identityKeys;
    if (others.length > 0)
      throw invalid(`${place}.policy.identity_keys`, "must name one key: one share is for one custodian");
    return { url, policy, identityKey };
  });
  const threshold = fields.integer("threshold", 2, MAX_SHARES);
  fields.end();
  if (custodians.length > MAX_SHARES) throw invalid("custodians", `must be at most ${MAX_SHARES}`);
  if (threshold > custodians.length) throw invalid("threshold", "must not be more than there are custodians");
  const keys = new Set(custodians.map(({ identityKey }) => identityKey));
  if (keys.size < custodians.length)
    throw invalid("custodians", "must be different workers: two have the same identity key");
  return { threshold, recoveryKey, custodians };
}

/** Reads the file of AGENTKEYS_TEE_CUSTODY. @throws PolicyRefused */
export async function readCustody({ path, text }: SettingsFile): Promise<NonEmpty<CustodyOwner>> {
  const json = parsePolicyJson(text);
  const fields = versioned(json);
  const files = await filesOf(rawItems(json, "owners"), (item, i) => readFiles(item, path, `owners[${i}].`));
  const owners = fields.list("owners", (place, item) => readOwner(new PolicyFields(place, item), files));
  fields.end();
  return owners;
}

function readOwner(fields: PolicyFields, files: NamedFiles): CustodyOwner {
  const signer = fields.text("signer", /^[!-*,-~]{1,255}$/, "a name without spaces and plus signs");
  const recoveryKey = readRecoveryKey(fields);
  const maxAgeMs = 1000 * fields.integer("max_evidence_age_s", 1, 3600);
  const clockSkewMs = 1000 * fields.integer("clock_skew_s", 0, 600);
  const settings = readPolicySettings(fields.object("settings"));
  const listed = fields.list("platforms", (at, platform) => ({ at, platform: objectOf(at, platform) }));
  fields.end();

  const pinned = (at: string, platform: object): Platform => {
    const read = readPlatform(new PolicyFields(at, platform), { age: { maxAgeMs, clockSkewMs }, ...files });
    if (!read.needsActivation) return read.pinned(undefined);
    throw invalid(`${at}.identity`, "must pin the attestation key: whoever calls cannot be challenged for another one");
  };
  const policy = (platforms: NonEmpty<Platform>): PeerPolicy => ({
    ...{ maxEvidenceAgeMs: maxAgeMs, clockSkewMs, settings, platforms },
  });
  const [first, ...rest] = listed;
  return {
    ...{ signer, recoveryKey, recoveryKeySha256: keyFingerprint(recoveryKey), clockSkewMs },
    depositor: policy([pinned(first.at, first.platform), ...rest.map(({ at, platform }) => pinned(at, platform))]),
    recoverer: ({ type, name, value }) => {
      const alike = listed.filter(({ platform }) => member(platform, "type") === type);
      // The code that the owner's machines may run, on the machine of the ticket and no other.
      const [one, ...others] = alike.map(({ at, platform }) =>
        pinned(at, { ...platform, identity: { [name]: [value] } }),
      );
      return one === undefined ? undefined : policy([one, ...others]);
    },
  };
}

/** The measurements may be anywhere, signed as they are; by which key is a part of what is measured, and so is no file. */
async function readFiles(item: unknown, path: string, place: string): Promise<NamedFiles> {
  for (const [index, platform] of rawItems(item, "platforms").entries()) {
    const from = member(member(platform, "code"), "measurements_from");
    const key = member(from, "release_key");
    if (key === undefined || (typeof key === "string" && SHA256.test(key))) continue;
    throw invalid(
      `${place}platforms[${index}].code.measurements_from.release_key`,
      "must be the SHA-256 of the release key: a file that names it could be exchanged",
    );
  }
  return await readNamedFiles(item, dirname(path), place);
}

async function filesOf(
  items: readonly unknown[],
  read: (item: unknown, index: number) => Promise<NamedFiles>,
): Promise<NamedFiles> {
  const all = await Promise.all(items.map(read));
  return {
    measured: new Map(all.flatMap(({ measured }) => [...measured])),
    lists: new Map(all.flatMap(({ lists }) => [...lists])),
  };
}

/** For the attested settings: how many of whom, and by whose leave. Every caller's policy names it word for word. */
export function claimedBackup({ threshold, recoveryKey, custodians }: BackupPlan): readonly string[] {
  return [
    `${threshold} of ${custodians.length}`,
    `recovery key ${keyFingerprint(recoveryKey)}`,
    ...custodians.map(({ url, identityKey }) => `${url} ${identityKey}`),
  ];
}

/** For the attested settings: by whose leave shares are given out. */
export function claimedCustody(owners: readonly CustodyOwner[]): readonly string[] {
  return [...new Set(owners.map(({ recoveryKeySha256 }) => `recovery key ${recoveryKeySha256}`))].sort();
}

function versioned(json: unknown): PolicyFields {
  const fields = new PolicyFields("", json);
  if (fields.take("version") !== 1) throw invalid("version", "must be 1: other forms are not known to this version");
  return fields;
}

function readUrl(fields: PolicyFields): string {
  const url = fields.text("url", /^https:\/\/[!-~]{1,250}$/, "the https URL of a worker, without a path");
  try {
    return originUrl(url);
  } catch {
    throw invalid(fields.at("url"), "must be the https URL of a worker, without a path");
  }
}

/** The key itself and no file: it is part of what is measured. */
function readRecoveryKey(fields: PolicyFields): KeyObject {
  const pem = fields.text("recovery_key", /^-----BEGIN PUBLIC KEY-----\n/, "a public key in PEM");
  const key = asPublicKey(pem);
  if (key?.asymmetricKeyDetails?.namedCurve === "prime256v1") return key;
  throw invalid(fields.at("recovery_key"), "must be a public key on P-256, in PEM");
}

function asPublicKey(pem: string): KeyObject | undefined {
  try {
    return createPublicKey(pem);
  } catch {
    return undefined;
  }
}

function rawItems(json: unknown, name: string): readonly unknown[] {
  const items = member(json, name);
  return Array.isArray(items) ? items : [];
}

function objectOf(place: string, value: unknown): object {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw invalid(place, "must be an object");
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
