import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";

import type { CpioEntry } from "./cpio.ts";

/** The drivers that a virtual machine needs before the state disk and the network are there, each after those that it stands on. */
const DRIVERS = [
  "drivers/virtio/virtio_ring.ko",
  "drivers/virtio/virtio.ko",
  "drivers/virtio/virtio_pci_modern_dev.ko",
  "drivers/virtio/virtio_pci_legacy_dev.ko",
  "drivers/virtio/virtio_pci.ko",
  "drivers/block/virtio_blk.ko",
  "net/core/failover.ko",
  "drivers/net/net_failover.ko",
  "drivers/net/virtio_net.ko",
];

export interface ImageContents {
  /** The compiled init.c, static. */
  init: Uint8Array;
  /** The Node program that runs the worker. */
  node: string;
  /** The worker's bundle: one file. */
  worker: Uint8Array;
  /** `NAME=value` lines: what the worker is set up with, beside what the image fixes. They are measured with the rest. */
  settings: string;
  /** The public key (PEM) whose approvals open what was sealed. */
  releaseKey: string;
  /** The certificate authority of the broker (PEM), where the usual ones do not know it. */
  brokerCa?: Uint8Array;
  /** `/etc/hosts`: there is no name server inside. */
  hosts: string;
  /** `lib/modules/VERSION/kernel` of the kernel's package. */
  modules: string;
}

/** What the image itself decides; the rest is the deployment's. */
const FIXED_SETTINGS = [
  "AGENTKEYS_KEYS_LISTEN=0.0.0.0:8443",
  "AGENTKEYS_TEE_TPM=device:/dev/tpmrm0",
  "AGENTKEYS_TEE_STATE_DIR=/var/lib/agentkeys/worker",
  "AGENTKEYS_TEE_RELEASE_KEY=/app/release-key.pem",
  "AGENTKEYS_TEE_APPROVALS=/var/lib/agentkeys/approvals.json",
  "AGENTKEYS_TEE_QUOTED_PCRS=11",
  "",
].join("\n");

/** Everything in the image's initial RAM disk, which is all that there is: init, Node with its libraries, the worker, drivers. */
export function imageContents(contents: ImageContents): CpioEntry[] {
  const folders = "app bin dev drivers etc lib lib64 proc sys tmp var var/lib var/lib/agentkeys".split(" ");
  return [
    ...folders.map((path) => ({ path, mode: 0o040755 })),
    // The kernel opens it for the first process, before /dev is mounted.
    { path: "dev/console", mode: 0o020600, device: [5, 1] },
    { path: "init", mode: 0o100755, content: contents.init },
    { path: "bin/node", mode: 0o100755, content: readFileSync(contents.node) },
    ...librariesOf(contents.node),
    { path: "app/main.js", mode: 0o100644, content: contents.worker },
    { path: "app/package.json", mode: 0o100644, content: Buffer.from('{"type":"module"}\n') },
    { path: "app/settings.env", mode: 0o100644, content: Buffer.from(`${FIXED_SETTINGS}${contents.settings}`) },
    { path: "app/release-key.pem", mode: 0o100644, content: Buffer.from(contents.releaseKey) },
    ...(contents.brokerCa ? [{ path: "app/broker-ca.pem", mode: 0o100644, content: contents.brokerCa }] : []),
    { path: "etc/hosts", mode: 0o100644, content: Buffer.from(contents.hosts) },
    {
      path: "drivers/order",
      mode: 0o100644,
      content: Buffer.from(DRIVERS.map((path) => `${driver(path)}\n`).join("")),
    },
    ...DRIVERS.map((path) => ({
      path: driver(path).slice(1),
      mode: 0o100644,
      content: readFileSync(join(contents.modules, path)),
    })),
  ] as CpioEntry[];
}

function driver(path: string): string {
  return `/drivers/${basename(path)}`;
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
