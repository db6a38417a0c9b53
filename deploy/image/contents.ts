import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";

import type { CpioEntry } from "./cpio.ts";
import { type Driver, driversFor } from "./drivers.ts";
import type { Kernel } from "./kernel.ts";

export interface ImageContents {
  /** The first process, compiled and static. */
  init: Uint8Array;
  /** The Node program that runs the worker. */
  node: string;
  /** The worker's bundle: one file. */
  worker: Uint8Array;
  /** `NAME=value` lines: what the worker is set up with, beside what the image fixes. They are measured with the rest. */
  settings: string;
  /** The public key (PEM) whose approvals open what was sealed. */
  releaseKey: string;
  /** The public key (PEM) that what those approvals opened is sealed for anew. */
  nextReleaseKey?: string;
  /** The certificate authority of the broker (PEM), where the usual ones do not know it. */
  brokerCa?: Uint8Array;
  /** `/etc/hosts`: names that need no name server. */
  hosts: string;
  kernel: Kernel;
  /** What AGENTKEYS_TEE_BACKUP and AGENTKEYS_TEE_CUSTODY name, where the worker is backed up, or keeps shares of others. */
  backup?: string;
  custody?: string;
}

/** The PCRs that tell this image from anything else: see `measure.ts`. */
export const MEASURED_PCRS = [4, 11, 12, 13] as const;

/** What the image itself decides; the rest is the deployment's. */
function fixedSettings({ settings, nextReleaseKey, backup, custody }: ImageContents): string {
  const evidence = settingOf(settings, "AGENTKEYS_TEE_EVIDENCE") ?? "tpm2";
  const quotes = evidence === "tpm2" || evidence === "azure-cvm";
  const sealsByTpm = (settingOf(settings, "AGENTKEYS_TEE_SEALER") ?? "tpm2") === "tpm2";
  return [
    "AGENTKEYS_KEYS_LISTEN=0.0.0.0:8443",
    // The kernel's resource manager lets only commands through that the TPM lists; AWS's own program asks for documents without it.
    `AGENTKEYS_TEE_TPM=device:/dev/${evidence === "aws-nitro" ? "tpm0" : "tpmrm0"}`,
    "AGENTKEYS_TEE_STATE_DIR=/var/lib/agentkeys/worker",
    ...(sealsByTpm ? ["AGENTKEYS_TEE_RELEASE_KEY=/app/release-key.pem"] : []),
    ...(nextReleaseKey !== undefined ? ["AGENTKEYS_TEE_NEXT_RELEASE_KEY=/app/next-release-key.pem"] : []),
    ...(sealsByTpm ? ["AGENTKEYS_TEE_APPROVALS=/var/lib/agentkeys/approvals.json"] : []),
    ...(quotes ? [`AGENTKEYS_TEE_QUOTED_PCRS=${MEASURED_PCRS.join(",")}`] : []),
    ...(backup === undefined ? [] : ["AGENTKEYS_TEE_BACKUP=/app/backup.json"]),
    ...(custody === undefined ? [] : ["AGENTKEYS_TEE_CUSTODY=/app/custody.json"]),
    "",
  ].join("\n");
}

/** Whether the kernel has to make reports for the worker. */
export function needsReports(settings: string): boolean {
  return settingOf(settings, "AGENTKEYS_TEE_EVIDENCE") === "configfs-tsm";
}

function settingOf(settings: string, name: string): string | undefined {
  const line = settings.split("\n").findLast((each) => each.startsWith(`${name}=`));
  return line?.slice(name.length + 1).trim();
}

/** Everything in the image's initial RAM disk, which is all that there is: init, Node with its libraries, the worker, drivers. */
export function imageContents(contents: ImageContents): CpioEntry[] {
  const folders = "app bin dev drivers etc lib lib64 proc run sys tmp var var/lib var/lib/agentkeys".split(" ");
  const drivers = driversFor(contents.kernel, { reports: needsReports(contents.settings) });
  const file = (path: string, content: string | Uint8Array): CpioEntry => ({
    path,
    mode: 0o100644,
    content: Buffer.from(content),
  });
  return [
    ...folders.map((path) => ({ path, mode: 0o040755 })),
    // The kernel opens it for the first process, before /dev is mounted.
    { path: "dev/console", mode: 0o020600, device: [5, 1] },
    { path: "init", mode: 0o100700, content: contents.init },
    // Who may run a program and not read it is not looked into by others of the same user (ptrace(2)).
    { path: "bin/node", mode: 0o100711, content: readFileSync(contents.node) },
    ...librariesOf(contents.node),
    file("app/main.js", contents.worker),
    file("app/package.json", '{"type":"module"}\n'),
    file("app/settings.env", `${fixedSettings(contents)}${contents.settings}`),
    file("app/release-key.pem", contents.releaseKey),
    ...(contents.nextReleaseKey !== undefined ? [file("app/next-release-key.pem", contents.nextReleaseKey)] : []),
    ...(contents.backup === undefined ? [] : [file("app/backup.json", contents.backup)]),
    ...(contents.custody === undefined ? [] : [file("app/custody.json", contents.custody)]),
    ...(contents.brokerCa ? [file("app/broker-ca.pem", contents.brokerCa)] : []),
    file("etc/hosts", contents.hosts),
    file("etc/nsswitch.conf", "hosts: files dns\n"),
    // What the network says of name servers is written there at run time, and is not measured.
    { path: "etc/resolv.conf", mode: 0o120777, content: Buffer.from("/run/resolv.conf") },
    file("drivers/order", drivers.map(({ name }) => `/drivers/${name}\n`).join("")),
    ...drivers.map(({ name, content }: Driver) => file(`drivers/${name}`, content)),
  ];
}

/** The shared libraries that the dynamic linker would load, and the linker itself. */
function librariesOf(program: string): CpioEntry[] {
  const lines = execFileSync("ldd", [program], { encoding: "utf8" }).split("\n");
  const paths = lines.flatMap((line) => /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1] ?? []);
  return paths.map((path) => ({
    path: path.startsWith("/lib64/") ? path.slice(1) : `lib/${basename(path)}`,
    mode: 0o100755,
    content: readFileSync(path),
  }));
}
