/**
 * Builds the measured image of the TEE worker, on Debian 12: `npm run build:image -- --help`. The release key's private half is needed for what it signs,
 * and for nothing else: the image holds its public half.
 */
import { execFileSync } from "node:child_process";
import { createPrivateKey, createPublicKey } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { signMeasurements } from "@agentkeys/lib/evidence/measurements";
import { approve, formatApprovals } from "@agentkeys/lib/tpm2";

import { buildImage } from "./build.ts";
import { unpackKernel } from "./kernel.ts";

const HELP = `Builds the measured image: out/agentkeys-keys.efi, measurements.jws and approvals.json.

  --release NAME         what this release is called, for example 1.2.0
  --release-key FILE     the release key, PEM, P-256 (openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256)
  --settings FILE        NAME=value lines: AGENTKEYS_KEYS_BROKER_URL, AGENTKEYS_KEYS_PUBLIC_URL, AGENTKEYS_TEE_SIGNER …
  --address CIDR         the worker's address, for example 10.0.2.15/24
  --gateway ADDRESS      its router
  --hosts FILE           /etc/hosts of the image: there is no name server inside
  --broker-ca FILE       the authority of the broker's certificate, PEM, where it is not a public one
  --out FOLDER           where the three files are written (default: dist/image)

Needs: gcc, zstd, systemd-boot-efi, and apt-get for the kernel (linux-image-cloud-amd64).`;

const root = resolve(import.meta.dirname, "..", "..");
const { values } = parseArgs({
  options: {
    release: { type: "string" },
    "release-key": { type: "string" },
    settings: { type: "string" },
    address: { type: "string" },
    gateway: { type: "string" },
    hosts: { type: "string" },
    "broker-ca": { type: "string" },
    out: { type: "string", default: join(root, "dist", "image") },
    help: { type: "boolean" },
  },
});
const { release, settings, address, gateway, hosts, out } = values;
const [releaseKey, brokerCa] = [values["release-key"], values["broker-ca"]];
if (!release || !releaseKey || !settings || !address || !gateway || !hosts || values.help) {
  process.stdout.write(`${HELP}\n`);
  process.exit(values.help ? 0 : 2);
}

const key = createPrivateKey(readFileSync(releaseKey));
execFileSync(process.execPath, [join(root, "build.mjs"), "keys-tee"], { cwd: root, stdio: "inherit" });
const kernel = mkdtempSync(join(tmpdir(), "agentkeys-kernel-"));
try {
  unpackKernel(kernel);
  const { uki, measurements } = buildImage({
    kernel,
    release,
    network: { address, gateway },
    node: process.execPath,
    worker: readFileSync(join(root, "dist", "keys-tee", "main.js")),
    settings: readFileSync(settings, "utf8"),
    releaseKey: createPublicKey(key).export({ type: "spki", format: "pem" }).toString(),
    hosts: readFileSync(hosts, "utf8"),
    ...(brokerCa !== undefined && { brokerCa: readFileSync(brokerCa) }),
  });
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, "agentkeys-keys.efi"), uki);
  writeFileSync(join(out, "measurements.jws"), (await signMeasurements(measurements, key)) + "\n");
  const pcr11 = Buffer.from(measurements.pcrs[11] ?? "", "hex");
  writeFileSync(join(out, "approvals.json"), formatApprovals([approve(release, new Map([[11, pcr11]]), key)]));
  for (const [name, digest] of Object.entries(measurements.digests)) process.stdout.write(`${digest}  ${name}\n`);
  process.stdout.write(`PCR 11 will be ${pcr11.toString("hex")}\n${out}\n`);
} finally {
  rmSync(kernel, { recursive: true });
}
