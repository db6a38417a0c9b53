import { createPublicKey, type KeyObject } from "node:crypto";
import { resolve } from "node:path";

import type { NonEmpty, Pin } from "../evidence/index.ts";
import { MeasurementsRefused, verifyMeasurements } from "../evidence/measurements.ts";
import { es256KeyOf, keyFingerprint } from "../evidence/release-key.ts";

import { SHA256 } from "./pin-fields.ts";
import { readGuardedFile, readSignedFile, UnreadableFile } from "./policy-files.ts";
import { invalid, PolicyFields } from "./policy-fields.ts";

/** The code of a platform as a build measured it: every PCR of a file that a release key signed. */
export interface MeasuredCode {
  pins: NonEmpty<Pin<`pcr${number}`>>;
  /** Where the pins are from, for people. */
  source: string;
}

/** By the place in the policy where they are asked for: `platforms[0].code`. */
export type MeasuredCodes = ReadonlyMap<string, MeasuredCode>;

/** The kinds of evidence whose code is PCRs of SHA-256, as builds measure it. */
const measurable = new Set<unknown>(["tpm2", "azure-cvm"]);

/**
 * Reads the measurements that a policy names, `"code": { "measurements_from": { "file", "release_key", "releases" } }`. Paths are relative to
 * `folder`, the policy's own; `place` is where the policy stands in something larger, with a full stop. @throws PolicyRefused POLICY_INVALID, POLICY_PERMISSIONS
 */
export async function readMeasuredCodes(policy: unknown, folder: string, place = ""): Promise<MeasuredCodes> {
  const codes = new Map<string, MeasuredCode>();
  const platforms = isObject(policy) ? policy["platforms"] : undefined;
  if (!Array.isArray(platforms)) return codes;
  for (const [index, platform] of (platforms as unknown[]).entries()) {
    if (!isObject(platform) || !measurable.has(platform["type"])) continue;
    const code = platform["code"];
    if (!isObject(code) || !Object.hasOwn(code, "measurements_from")) continue;
    const at = `${place}platforms[${index}].code`;
    const fields = new PolicyFields(at, code);
    const from = fields.object("measurements_from");
    fields.end();
    codes.set(at, await readMeasurements(from, folder));
  }
  return codes;
}

async function readMeasurements(from: PolicyFields, folder: string): Promise<MeasuredCode> {
  const path = resolve(folder, from.text("file", PATH, "the path of a file"));
  const keyName = from.text("release_key", PATH, "the path of a public key in PEM, or its SHA-256");
  const releases = from.texts("releases", /^[!-~]{1,100}$/, "the name of a release");
  from.end();
  const jws = (await readOr(from.at("file"), path, readSignedFile)).trim();
  const key = await releaseKeyOf(from.at("release_key"), keyName, { folder, jws, path });
  const { release, pcrs } = await verified(from.at("file"), path, jws, key);
  if (!releases.includes(release)) {
    throw invalid(from.at("releases"), `names ${releases.join(", ")}, but ${path} is of the release ${release}`);
  }
  const [first, ...rest] = Object.entries(pcrs).map(([pcr, value]): Pin<`pcr${number}`> => ({
    name: `pcr${Number(pcr)}`,
    values: [value],
  }));
  if (first === undefined) throw invalid(from.at("file"), `names ${path}, which pins nothing`);
  const source = `as release ${release} was measured: ${path}, signed by the release key ${keyFingerprint(key)}`;
  return { pins: [first, ...rest], source };
}

async function releaseKeyOf(
  place: string,
  name: string,
  { folder, jws, path }: { folder: string; jws: string; path: string },
): Promise<KeyObject> {
  if (SHA256.test(name)) {
    const key = es256KeyOf(jws, name);
    if (key === undefined) throw invalid(place, `is ${name}, but ${path} is not signed by that key`);
    return key;
  }
  const file = resolve(folder, name);
  const pem = await readOr(place, file, readGuardedFile);
  // A private key would do as well, and has no business here.
  const isPublic = pem.trimStart().startsWith("-----BEGIN PUBLIC KEY-----");
  try {
    if (isPublic) return createPublicKey(pem);
  } catch {
    // Said below.
  }
  throw invalid(place, `names ${file}, which holds no public key in PEM`);
}

async function verified(place: string, path: string, jws: string, key: KeyObject) {
  try {
    return await verifyMeasurements(jws, key);
  } catch (error) {
    if (!(error instanceof MeasurementsRefused)) throw error;
    throw invalid(place, `names ${path}, whose measurements are refused: ${error.message}`);
  }
}

async function readOr(place: string, path: string, read: (path: string) => Promise<string>): Promise<string> {
  try {
    return await read(path);
  } catch (error) {
    if (!(error instanceof UnreadableFile)) throw error;
    throw invalid(place, `names ${path}, which cannot be read: ${error.message}`);
  }
}

const PATH = /^[^\0\n\r]{1,1024}$/;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
