import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

import type { Kernel } from "./kernel.ts";

/** What is loaded before the state disk and the network are there, each after those that it stands on: QEMU, EC2, Google's and Azure's machines. */
export const MACHINE_DRIVERS = [
  "drivers/virtio/virtio_ring",
  "drivers/virtio/virtio",
  "drivers/virtio/virtio_pci_modern_dev",
  "drivers/virtio/virtio_pci_legacy_dev",
  "drivers/virtio/virtio_pci",
  "drivers/scsi/scsi_common",
  "drivers/scsi/scsi_mod",
  "drivers/scsi/sd_mod",
  "drivers/scsi/scsi_transport_fc",
  "drivers/hv/hv_vmbus",
  "drivers/nvme/host/nvme-core",
  "drivers/nvme/host/nvme",
  "drivers/block/virtio_blk",
  "drivers/scsi/virtio_scsi",
  "drivers/scsi/hv_storvsc",
  "net/core/failover",
  "drivers/net/net_failover",
  "drivers/net/virtio_net",
  "drivers/net/ethernet/amazon/ena/ena",
  "drivers/net/ethernet/google/gve/gve",
  "drivers/net/hyperv/hv_netvsc",
];

/** Reports of SEV-SNP and TDX, through the file system that they are asked for in. */
const REPORTS = [
  "fs/configfs/configfs",
  "drivers/virt/coco/tsm",
  "drivers/virt/coco/sev-guest/sev-guest",
  "drivers/virt/coco/tdx-guest/tdx-guest",
];

/** A kernel module as it is loaded, unpacked. */
export interface Driver {
  /** `virtio_net.ko` */
  name: string;
  content: Buffer;
}

/** The drivers of the image, in the order in which they are loaded. @throws Error where the kernel lacks one */
export function driversFor(kernel: Kernel, { reports }: { reports: boolean }): Driver[] {
  const found = MACHINE_DRIVERS.flatMap((path) => read(kernel, path, "the image needs it"));
  if (!reports) return found;
  const remedy =
    "AGENTKEYS_TEE_EVIDENCE=configfs-tsm needs Linux 6.7 or newer: " +
    "give --kernel the package of one, as linux-image-cloud-amd64 of Debian's bookworm-backports";
  return [...found, ...REPORTS.flatMap((path) => read(kernel, path, remedy))];
}

/** Nothing, where it is built into the kernel. */
function read({ version, modules }: Kernel, path: string, why: string): Driver[] {
  const builtIn = readFileSync(join(modules, "..", "modules.builtin"), "utf8").split("\n");
  if (builtIn.includes(`kernel/${path}.ko`)) return [];
  const [plain, packed] = [join(modules, `${path}.ko`), join(modules, `${path}.ko.xz`)];
  const name = `${basename(path)}.ko`;
  if (existsSync(plain)) return [{ name, content: readFileSync(plain) }];
  if (!existsSync(packed)) throw new Error(`the kernel ${version} has no ${basename(path)}: ${why}`);
  return [{ name, content: execFileSync("xz", ["-dc", packed], { maxBuffer: 64 << 20 }) }];
}
