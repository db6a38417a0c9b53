import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Measurements } from "@agentkeys/lib/evidence/measurements";

import { imageContents, type ImageContents } from "./contents.ts";
import { cpioArchive } from "./cpio.ts";
import { kernelIn } from "./kernel.ts";
import { assembleUki, predictPcr11 } from "./uki.ts";

const STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

export interface ImageOptions extends Omit<ImageContents, "init" | "modules"> {
  /** Where the kernel's Debian package was unpacked. */
  kernel: string;
  /** What the image calls itself. */
  release: string;
  /** `10.0.2.15/24`, and the router. */
  network: { address: string; gateway: string };
}

export interface Image {
  /** A UEFI program: kernel, command line and initial RAM disk in one. */
  uki: Buffer;
  /** What PCR 11 holds on a machine that booted it, and what it was made of: two builds of the same inputs are the same bytes. */
  measurements: Measurements;
}

/** Builds the measured image. Needs, on Debian 12: gcc, zstd, systemd-boot-efi. */
export function buildImage(options: ImageOptions): Image {
  const { version, image, modules } = kernelIn(options.kernel);
  const { address, gateway } = options.network;
  const init = compileInit();
  const sections = {
    linux: readFileSync(image),
    osrel: Buffer.from(`ID=agentkeys\nNAME=AgentKeys\nVERSION_ID=${options.release}\n`),
    cmdline: Buffer.from(
      `console=ttyS0 quiet panic=-1 agentkeys.address=${address} agentkeys.gateway=${gateway} agentkeys.disk=/dev/vda`,
    ),
    initrd: compressed(cpioArchive(imageContents({ ...options, init, modules }))),
  };
  const stub = readFileSync(STUB);
  const uki = assembleUki(stub, sections);
  return {
    uki,
    measurements: {
      release: options.release,
      pcrs: { 11: predictPcr11(sections) },
      digests: {
        image: digest(uki),
        [`kernel ${version}`]: digest(sections.linux),
        "systemd stub": digest(stub),
        init: digest(init),
        node: digest(readFileSync(options.node)),
        worker: digest(options.worker),
        settings: digest(Buffer.from(options.settings)),
      },
    },
  };
}

/** Without a path of the machine that builds it, or a build id, in it. */
function compileInit(): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-init-"));
  try {
    const out = join(folder, "init");
    const flags = ["-static", "-O2", "-s", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none"];
    execFileSync("gcc", [...flags, "-o", out, "init.c"], {
      cwd: import.meta.dirname,
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
