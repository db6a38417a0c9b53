import { createHash } from "node:crypto";

import type { UkiSections } from "./uki.ts";

const MEASURED = ["linux", "osrel", "cmdline", "initrd"] as const;

/** A bank of PCRs: policies for a TPM name SHA-256, the documents of AWS's hypervisor SHA-384. */
export type Bank = "sha256" | "sha384";

/** What the first process extends PCR 12 and 13 with (init/measure.c). */
const CLOSED = Buffer.from("agentkeys: closed");

/**
 * What tells a machine that booted this image from one that booted anything else, in lower-case hex by number. The firmware measures
 * which programs it started (4), the image's stub what is in it (11), a command line that was given from outside (12) and extensions
 * beside it (13): there were none. PCR 11 alone would prove nothing, since any system can extend it as the stub does, and the stub takes
 * another command line where Secure Boot is off.
 */
export function predictPcrs(uki: Uint8Array, sections: UkiSections, bank: Bank = "sha256"): Record<number, string> {
  const closed = extended(bank, [digest(bank, CLOSED)]);
  return { 4: predictPcr4(uki, sections.linux, bank), 11: predictPcr11(sections, bank), 12: closed, 13: closed };
}

/**
 * systemd-stub extends PCR 11 with the name of each section, a NUL behind it, and then with the section itself (`systemd-measure(1)`);
 * nothing later extends it, since no systemd runs inside.
 */
export function predictPcr11(sections: UkiSections, bank: Bank = "sha256"): string {
  return extended(
    bank,
    MEASURED.flatMap((name) => [digest(bank, Buffer.from(`.${name}\0`)), digest(bank, sections[name])]),
  );
}

/**
 * PCR 4 where the firmware boots the image as its first choice, and Secure Boot is off (TCG PC Client Platform Firmware Profile, section
 * 3.3.4.5): the attempt, the end of what came before, the image, and the kernel, which systemd-stub 252 has the firmware load.
 */
export function predictPcr4(uki: Uint8Array, linux: Uint8Array, bank: Bank = "sha256"): string {
  const attempt = digest(bank, Buffer.from("Calling EFI Application from Boot Option"));
  return extended(bank, [
    attempt,
    digest(bank, Buffer.alloc(4)),
    authenticodeDigest(uki, bank),
    authenticodeDigest(linux, bank),
  ]);
}

/**
 * The digest of a 64-bit PE program without what a signature changes (Windows Authenticode Portable Executable Signature Format):
 * headers, sections by their place in the file, and what follows them, but not the checksum, the entry of the certificates, and these.
 */
export function authenticodeDigest(program: Uint8Array, bank: Bank): Buffer {
  const pe = Buffer.from(program.buffer, program.byteOffset, program.byteLength);
  const header = pe.readUInt32LE(0x3c);
  const optional = header + 24;
  const certificates = optional + 144;
  const headers = pe.readUInt32LE(optional + 60);
  const hash = createHash(bank);
  hash.update(pe.subarray(0, optional + 64));
  hash.update(pe.subarray(optional + 68, certificates));
  hash.update(pe.subarray(certificates + 8, headers));
  const table = optional + pe.readUInt16LE(header + 20);
  let end = headers;
  const sections = Array.from({ length: pe.readUInt16LE(header + 6) }, (_, each) => {
    const at = table + each * 40;
    return { size: pe.readUInt32LE(at + 16), start: pe.readUInt32LE(at + 20) };
  });
  for (const { start, size } of sections.filter((one) => one.size > 0).sort((a, b) => a.start - b.start)) {
    hash.update(pe.subarray(start, start + size));
    end += size;
  }
  return hash.update(pe.subarray(end, pe.length - pe.readUInt32LE(certificates + 4))).digest();
}

function extended(bank: Bank, events: readonly Uint8Array[]): string {
  const pcr = events.reduce<Buffer>(
    (before, event) => digest(bank, before, event),
    Buffer.alloc(createHash(bank).digest().length),
  );
  return pcr.toString("hex");
}

function digest(bank: Bank, ...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash(bank);
  for (const part of parts) hash.update(part);
  return hash.digest();
}
