import { generateKeyPairSync } from "node:crypto";

import { CompactSign } from "jose";
import { expect, test } from "vitest";

import { type Measurements, MeasurementsRefused, signMeasurements, verifyMeasurements } from "./measurements.ts";

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const measurements: Measurements = {
  release: "1.2.0",
  pcrs: { 11: "ab".repeat(32) },
  digests: { image: "cd".repeat(32) },
};

test("measurements are those that the release key signed", async () => {
  expect(await verifyMeasurements(await signMeasurements(measurements, privateKey), publicKey)).toEqual(measurements);
});

test("measurements by another key, changed ones, and other things that the key signed are refused", async () => {
  const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const signed = await signMeasurements(measurements, privateKey);
  await expect(verifyMeasurements(signed, stranger.publicKey)).rejects.toThrow(MeasurementsRefused);
  const [header, , signature] = signed.split(".");
  const other = Buffer.from(JSON.stringify({ v: 1, ...measurements, pcrs: { 11: "00".repeat(32) } })).toString(
    "base64url",
  );
  await expect(verifyMeasurements(`${header ?? ""}.${other}.${signature ?? ""}`, publicKey)).rejects.toThrow(
    "not signed",
  );
  const untyped = await new CompactSign(Buffer.from(JSON.stringify({ v: 1, ...measurements })))
    .setProtectedHeader({ alg: "ES256" })
    .sign(privateKey);
  await expect(verifyMeasurements(untyped, publicKey)).rejects.toThrow("not signed");
});

test.each([
  ["no PCR at all", { pcrs: {} }],
  ["a PCR that does not exist", { pcrs: { 24: "ab".repeat(32) } }],
  ["a value of another length", { pcrs: { 11: "ab" } }],
  ["no release", { release: "" }],
])("measurements with %s say nothing that can be compared", async (_what, change) => {
  const signed = await signMeasurements({ ...measurements, ...change }, privateKey);
  await expect(verifyMeasurements(signed, publicKey)).rejects.toThrow(MeasurementsRefused);
});
