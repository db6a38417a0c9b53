import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Measurements } from "@agentkeys/lib/evidence/measurements";

import { imageContents, type ImageContents, needsReports } from "./contents.ts";
import { cpioArchive } from "./cpio.ts";
import { kernelIn } from "./kernel.ts";
import { predictPcrs } from "./measure.ts";
import { assembleUki } from "./uki.ts";

const STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

const SOURCES = ["init.c", "confine.c", "measure.c", "clock.c", "network.c", "dhcp.c"];

/**
 * What the kernel is told. Secrets do not stay in memory that was freed, nobody looks into the kernel, not even root, and only modules
 * that its maker signed are loaded.
 */
const KERNEL_OPTIONS = [
  "console=ttyS0 quiet panic=-1 oops=panic lockdown=confidentiality module.sig_enforce=1",
  "init_on_alloc=1 init_on_free=1 slab_nomerge randomize_kstack_offset=on vsyscall=none",
].join(" ");

export interface ImageOptions extends Omit<ImageContents, "init" | "kernel"> {
  /** Where the kernel's Debian package was unpacked. */
  kernel: string;
  /** What the image calls itself. */
  release: string;
  network: Network;
}

/** Which address the machine has: the network's choice, or one that is measured with the image. */
export type Network = "dhcp" | { address: string; gateway: string; resolver?: string };

export interface Image {
  /** A UEFI program: kernel, command line and initial RAM disk in one. */
  uki: Buffer;
  /** What PCRs hold on a machine that booted it, and what it was made of: two builds of the same inputs are the same bytes. */
  measurements: Measurements;
  /** The PCRs in the bank that AWS's hypervisor signs. */
  sha384: Readonly<Record<number, string>>;
}

/** Builds the measured image. Needs, on Debian 12: gcc, zstd, systemd-boot-efi. @throws Error where the kernel lacks what the settings ask for */
export function buildImage(options: ImageOptions): Image {
  const kernel = kernelIn(options.kernel);
  const init = compileInit();
  const sections = {
    linux: readFileSync(kernel.image),
    osrel: Buffer.from(`ID=agentkeys\nNAME=AgentKeys\nVERSION_ID=${options.release}\n`),
    cmdline: Buffer.from(commandLine(options)),
    initrd: compressed(cpioArchive(imageContents({ ...options, init, kernel }))),
  };
  const stub = readFileSync(STUB);
  const uki = assembleUki(stub, sections);
  return {
    uki,
    sha384: predictPcrs(uki, sections, "sha384"),
    measurements: {
      release: options.release,
      pcrs: predictPcrs(uki, sections),
      digests: {
        image: digest(uki),
        [`kernel ${kernel.version}`]: digest(sections.linux),
        "systemd stub": digest(stub),
        init: digest(init),
        node: digest(readFileSync(options.node)),
        worker: digest(options.worker),
        settings: digest(Buffer.from(options.settings)),
      },
    },
  };
}

function commandLine({ network, settings }: ImageOptions): string {
  const words = [KERNEL_OPTIONS];
  if (network === "dhcp") words.push("agentkeys.address=dhcp");
  else {
    words.push(`agentkeys.address=${network.address} agentkeys.gateway=${network.gateway}`);
    if (network.resolver !== undefined) words.push(`agentkeys.resolver=${network.resolver}`);
  }
  if (needsReports(settings)) words.push("agentkeys.tsm=1");
  return words.join(" ");
}

/** Without a path of the machine that builds it, or a build id, in it. */
function compileInit(): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-init-"));
  try {
    const out = join(folder, "init");
    const flags = ["-static-pie", "-O2", "-s", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none"];
    const hardened = ["-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-fcf-protection", "-Wl,-z,relro,-z,now"];
    execFileSync("gcc", [...flags, ...hardened, "-o", out, ...SOURCES], {
      cwd: join(import.meta.dirname, "init"),
      stdio: ["ignore", "ignore", "inherit"],
    });
    return readFileSync(out);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** One thread: what several give depends on how many there are. */
function compressed(archive: Buffer): Buffer {
  return execFileSync("zstd", ["-q", "-6", "--single-thread", "-c"], { input: archive, maxBuffer: 1 << 30 });
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
