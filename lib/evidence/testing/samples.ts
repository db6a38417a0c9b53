import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "../../../../shared/attestation-samples");
export const samplesAreHere = existsSync(root);
if (!samplesAreHere)
  console.log("the evidence captured from real hardware is not in ../shared/attestation-samples: skipped");

/** Evidence captured from real hardware. It is no part of the project: see `samplesAreHere`. */
export function sample(name: string): Buffer {
  const bytes = readFileSync(join(root, name));
  if (name.endsWith(".hex")) return Buffer.from(bytes.toString("latin1").trim().replace(/^0x/, ""), "hex");
  return name.endsWith(".b64") ? Buffer.from(bytes.toString("latin1"), "base64") : bytes;
}

/** The certificates of a PEM file, in DER. */
export function samplePem(name: string): Buffer[] {
  const blocks = sample(name)
    .toString("latin1")
    .matchAll(/-----BEGIN CERTIFICATE-----([\s\S]+?)-----END CERTIFICATE-----/g);
  return [...blocks].map(([, base64]) => Buffer.from(base64 ?? "", "base64"));
}
