import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { cpioArchive } from "./cpio.ts";
import { predictPcr11 } from "./measure.ts";
import { assembleUki, type UkiSections } from "./uki.ts";

const folder = mkdtempSync(join(tmpdir(), "agentkeys-image-"));
afterAll(() => rmSync(folder, { recursive: true }));

const MEASURE = "/usr/lib/systemd/systemd-measure";
const sections: UkiSections = {
  linux: Buffer.alloc(5000, 1),
  osrel: Buffer.from("ID=agentkeys\n"),
  cmdline: Buffer.from("console=ttyS0"),
  initrd: Buffer.alloc(9001, 2),
};

describe("what PCR 11 will hold", () => {
  test.runIf(existsSync(MEASURE))("is what systemd-measure says", () => {
    const options = (["linux", "osrel", "cmdline", "initrd"] as const).map((name) => {
      writeFileSync(join(folder, name), sections[name]);
      return `--${name}=${join(folder, name)}`;
    });
    const said = execFileSync(MEASURE, ["calculate", ...options, "--bank=sha256", "--phase=", "--json=short"]);
    expect(JSON.parse(said.toString())).toMatchObject({ sha256: [{ hash: predictPcr11(sections) }] });
  });

  test("changes with any byte of any section, and with what belongs to which", () => {
    const seen = new Set([predictPcr11(sections)]);
    for (const name of ["linux", "osrel", "cmdline", "initrd"] as const) {
      const changed = Buffer.from(sections[name]);
      changed[changed.length - 1] = 0;
      seen.add(predictPcr11({ ...sections, [name]: changed }));
    }
    seen.add(predictPcr11({ ...sections, osrel: sections.cmdline, cmdline: sections.osrel }));
    expect(seen.size).toBe(6);
  });
});

describe("an image", () => {
  /** As much of a PE program as is read: one section, and room for more headers. */
  const stub = Buffer.alloc(1024);
  stub.write("MZ");
  stub.writeUInt32LE(0x80, 0x3c);
  stub.write("PE\0\0", 0x80, "latin1");
  stub.writeUInt16LE(0x8664, 0x84);
  stub.writeUInt16LE(1, 0x86);
  stub.writeUInt32LE(1234, 0x88); // when it was built
  stub.writeUInt16LE(240, 0x94);
  stub.writeUInt32LE(1024, 0x98 + 60);
  stub.writeUInt32LE(0x100, 0x98 + 240 + 8);
  stub.writeUInt32LE(0x4000, 0x98 + 240 + 12);

  test("holds each section whole, in pages of its own, and nothing of when or where it was built", () => {
    const uki = assembleUki(stub, sections);
    expect(uki.readUInt16LE(0x86)).toBe(5);
    expect(uki.readUInt32LE(0x88)).toBe(0);
    let end = 0x4100;
    for (const each of [1, 2, 3, 4]) {
      const at = 0x98 + 240 + each * 40;
      const name = uki.toString("latin1", at + 1, at + 8).replace(/\0+$/, "") as keyof UkiSections;
      const [size, start, file] = [uki.readUInt32LE(at + 8), uki.readUInt32LE(at + 12), uki.readUInt32LE(at + 20)];
      expect(uki.subarray(file, file + size)).toEqual(Buffer.from(sections[name]));
      expect(start % 4096).toBe(0);
      expect(start).toBeGreaterThanOrEqual(end);
      end = start + size;
    }
    expect(uki.readUInt32LE(0x98 + 56)).toBeGreaterThanOrEqual(end);
  });

  test("is not made of what is no EFI program, or has no room for its sections", () => {
    expect(() => assembleUki(Buffer.alloc(1024), sections)).toThrow("not an EFI program");
    const full = Buffer.from(stub);
    full.writeUInt32LE(0x98 + 240 + 80, 0x98 + 60);
    expect(() => assembleUki(full, sections)).toThrow("no room");
  });
});

test("an archive is the same whatever the order of its entries, and cpio reads it", () => {
  const entries = [
    { path: "bin", mode: 0o040755 },
    { path: "bin/node", mode: 0o100755, content: Buffer.from("#!") },
    { path: "dev/console", mode: 0o020600, device: [5, 1] as const },
  ];
  const archive = cpioArchive(entries);
  expect(cpioArchive([...entries].reverse())).toEqual(archive);
  // As the kernel reads it: fixed fields in hex, the name, the content, each padded to four.
  const names: string[] = [];
  for (let at = 0; at < archive.length;) {
    expect(archive.toString("latin1", at, at + 6)).toBe("070701");
    const field = (index: number): number =>
      parseInt(archive.toString("latin1", at + 6 + index * 8, at + 14 + index * 8), 16);
    names.push(archive.toString("utf8", at + 110, at + 110 + field(11) - 1));
    at += Math.ceil((110 + field(11)) / 4) * 4 + Math.ceil(field(6) / 4) * 4;
  }
  expect(names).toEqual(["bin", "bin/node", "dev/console", "TRAILER!!!"]);
});
