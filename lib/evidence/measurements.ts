import type { KeyObject } from "node:crypto";

import { CompactSign, compactVerify } from "jose";

/** What a build says of the image that it made: reference values in the terms of RFC 9334. */
export interface Measurements {
  /** The release that the image calls itself. */
  release: string;
  /** PCR values by number (SHA-256 bank) on a machine that booted it, in lower-case hex. */
  pcrs: Readonly<Record<number, string>>;
  /** SHA-256 of the image, and of what it was made of, by name. */
  digests: Readonly<Record<string, string>>;
}

/** Keeps a signature of the release key over something else from being taken for one over measurements. */
const TYP = "agentkeys-measurements+jwt";
const ALGORITHM = "ES256";

/** Signs measurements with the release key (P-256): a compact JWS (RFC 7515). */
export async function signMeasurements(measurements: Measurements, releaseKey: KeyObject): Promise<string> {
  return new CompactSign(Buffer.from(JSON.stringify({ v: 1, ...measurements })))
    .setProtectedHeader({ alg: ALGORITHM, typ: TYP })
    .sign(releaseKey);
}

/** The measurements in a file are not by this release key, or say nothing that can be compared. */
export class MeasurementsRefused extends Error {
  override readonly name = "MeasurementsRefused";
}

/** @throws MeasurementsRefused */
export async function verifyMeasurements(jws: string, releaseKey: KeyObject): Promise<Measurements> {
  const payload = await signedPayload(jws.trim(), releaseKey);
  const { v, release, pcrs, digests } = payload as Partial<Measurements> & { v?: unknown };
  if (v !== 1 || typeof release !== "string" || release === "") throw new MeasurementsRefused("they name no release");
  const known = isHexBy(/^(1?\d|2[0-3])$/, pcrs) && isHexBy(/^[ -~]{1,100}$/, digests);
  if (!known || Object.keys(pcrs ?? {}).length === 0) throw new MeasurementsRefused("they hold no PCR values");
  return { release, pcrs: pcrs ?? {}, digests: digests ?? {} };
}

async function signedPayload(jws: string, releaseKey: KeyObject): Promise<object> {
  try {
    const { payload, protectedHeader } = await compactVerify(jws, releaseKey, { algorithms: [ALGORITHM] });
    const value: unknown = JSON.parse(Buffer.from(payload).toString("utf8"));
    if (protectedHeader.typ === TYP && typeof value === "object" && value !== null) return value;
  } catch {
    // The library's words would quote what somebody put there.
  }
  throw new MeasurementsRefused("they are not signed by the release key");
}

function isHexBy(names: RegExp, values: unknown): boolean {
  if (typeof values !== "object" || values === null) return false;
  return Object.entries(values).every(
    ([name, value]) => names.test(name) && typeof value === "string" && /^[0-9a-f]{64}$/.test(value),
  );
}
