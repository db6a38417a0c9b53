/**
 * Builds the measured image of the TEE worker, on Debian 12: `npm run build:image -- --help`. The release key's private half is needed for what it signs,
 * and for nothing else: the image holds its public half.
 */
import { execFileSync } from "node:child_process";
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
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
  --security-version N   0 to 65535: the last release's, or one more where this one closes a hole (docs/tee.md, "Retiring releases")
  --next-release-key FILE
                         a new release key: this release opens by the old one, and seals for the new one (docs/tee.md, "Another release key")
  --settings FILE        NAME=value lines: AGENTKEYS_KEYS_BROKER_URL, AGENTKEYS_KEYS_PUBLIC_URL, AGENTKEYS_TEE_SIGNER …
  --address CIDR         the worker's address, for example 10.0.2.15/24 (default: dhcp)
  --gateway ADDRESS      its router, where the address is fixed
  --resolver ADDRESS     its name server, where the address is fixed and not every name is in --hosts
  --hosts FILE           /etc/hosts of the image: names that are not asked of the network
  --broker-ca FILE       the authority of the broker's certificate, PEM, where it is not a public one
  --backup FILE          whom the master secret is backed up to (docs/tee.md)
  --custody FILE         whose shares the worker keeps
  --kernel FILE          a linux-image-VERSION.deb to use (default: Debian's linux-image-cloud-amd64)
  --pcr4 HEX             what PCR 4 holds on machines whose firmware measures more than is foreseen
  --out FOLDER           where the three files are written (default: dist/image)

Needs: gcc, zstd, xz, systemd-boot-efi, and apt-get for the kernel.`;

const root = resolve(import.meta.dirname, "..", "..");
const { values } = parseArgs({
  options: {
    release: { type: "string" },
    "release-key": { type: "string" },
    "security-version": { type: "string" },
    "next-release-key": { type: "string" },
    settings: { type: "string" },
    address: { type: "string", default: "dhcp" },
    gateway: { type: "string" },
    resolver: { type: "string" },
    hosts: { type: "string" },
    kernel: { type: "string" },
    pcr4: { type: "string" },
    "broker-ca": { type: "string" },
    backup: { type: "string" },
    custody: { type: "string" },
    out: { type: "string", default: join(root, "dist", "image") },
    help: { type: "boolean" },
  },
});
const { release, settings, address, gateway, resolver, hosts, pcr4, out } = values;
const [releaseKey, nextReleaseKey, brokerCa] = [values["release-key"], values["next-release-key"], values["broker-ca"]];
const version = values["security-version"] ?? "";
const fixed = address !== "dhcp";
const wrong =
  (fixed ? gateway === undefined : (gateway ?? resolver) !== undefined) ||
  !/^\d{1,5}$/.test(version) ||
  (pcr4 && !/^[0-9a-f]{64}$/.test(pcr4));
if (!release || !releaseKey || !settings || wrong || values.help) {
  process.stdout.write(`${HELP}\n`);
  process.exit(values.help ? 0 : 2);
}

const key = createPrivateKey(readFileSync(releaseKey));
const nextKey = nextReleaseKey === undefined ? undefined : createPrivateKey(readFileSync(nextReleaseKey));
execFileSync(process.execPath, [join(root, "build.mjs"), "keys-tee"], { cwd: root, stdio: "inherit" });
const unpacked = mkdtempSync(join(tmpdir(), "agentkeys-kernel-"));
try {
  unpackKernel(unpacked, values.kernel);
  const {
    uki,
    measurements: predicted,
    sha384,
  } = buildImage({
    kernel: unpacked,
    release,
    network: fixed ? { address, gateway: gateway ?? "", ...(resolver !== undefined && { resolver }) } : "dhcp",
    node: process.execPath,
    worker: readFileSync(join(root, "dist", "keys-tee", "main.js")),
    settings: readFileSync(settings, "utf8"),
    releaseKey: publicPem(key),
    ...(nextKey && { nextReleaseKey: publicPem(nextKey) }),
    hosts: hosts === undefined ? "127.0.0.1 localhost\n" : readFileSync(hosts, "utf8"),
    ...(brokerCa !== undefined && { brokerCa: readFileSync(brokerCa) }),
    ...(values.backup !== undefined && { backup: readFileSync(values.backup, "utf8") }),
    ...(values.custody !== undefined && { custody: readFileSync(values.custody, "utf8") }),
  });
  const measurements = pcr4 ? { ...predicted, pcrs: { ...predicted.pcrs, 4: pcr4 } } : predicted;
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, "agentkeys-keys.efi"), uki);
  writeFileSync(join(out, "measurements.jws"), (await signMeasurements(measurements, key)) + "\n");
  // For daemons that no longer go by the old key.
  if (nextKey)
    writeFileSync(join(out, "measurements.next.jws"), (await signMeasurements(measurements, nextKey)) + "\n");
  const pcrs = new Map(Object.entries(measurements.pcrs).map(([pcr, hex]) => [Number(pcr), Buffer.from(hex, "hex")]));
  const approved = { release, securityVersion: Number(version), pcrs };
  const approvals = [key, ...(nextKey ? [nextKey] : [])].map((by) => approve(approved, by));
  writeFileSync(join(out, "approvals.json"), formatApprovals(approvals));
  for (const [name, digest] of Object.entries(measurements.digests)) process.stdout.write(`${digest}  ${name}\n`);
  for (const [pcr, hex] of Object.entries(measurements.pcrs)) process.stdout.write(`PCR ${pcr} will be ${hex}\n`);
  for (const [pcr, hex] of Object.entries(sha384)) process.stdout.write(`PCR ${pcr} (SHA-384) ${hex}\n`);
  process.stdout.write(`${out}\n`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
} finally {
  rmSync(unpacked, { recursive: true });
}

function publicPem(of: KeyObject): string {
  return createPublicKey(of).export({ type: "spki", format: "pem" }).toString();
}
