import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { imageContents } from "./contents.ts";
import { cpioArchive } from "./cpio.ts";
import { driversFor, MACHINE_DRIVERS } from "./drivers.ts";
import { kernelIn } from "./kernel.ts";
import { authenticodeDigest, predictPcr11, predictPcrs } from "./measure.ts";
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

describe("the PCRs that an image is known by", () => {
  const uki = (): Buffer => assembleUki(stub, sections);
  const kernel = { ...sections, linux: assembleUki(stub, sections) };

  test("are of the program, of what is in it, and of what was not given beside it", () => {
    const pcrs = predictPcrs(uki(), kernel);
    expect(Object.keys(pcrs)).toEqual(["4", "11", "12", "13"]);
    expect(pcrs[12]).toBe(pcrs[13]);
    expect(pcrs[12]).not.toMatch(/^0+$/);
    const other = predictPcrs(assembleUki(stub, { ...sections, osrel: Buffer.from("ID=other\n") }), kernel);
    expect(other[4]).not.toBe(pcrs[4]);
    expect(predictPcrs(uki(), kernel, "sha384")[4]).toHaveLength(96);
  });

  test("do not change with what a signature of the program changes", () => {
    const signed = Buffer.concat([uki(), Buffer.alloc(16, 7)]);
    signed.writeUInt32LE(1, 0x98 + 64); // the checksum
    signed.writeUInt32LE(signed.length - 16, 0x98 + 144);
    signed.writeUInt32LE(16, 0x98 + 148);
    expect(authenticodeDigest(signed, "sha256")).toEqual(authenticodeDigest(uki(), "sha256"));
    signed[0x98 + 60 + 512] = 1;
    expect(authenticodeDigest(signed, "sha256")).not.toEqual(authenticodeDigest(uki(), "sha256"));
  });
});

describe("a kernel", () => {
  const unpacked = (version: string, modules: readonly string[], builtIn: readonly string[]): string => {
    const root = mkdtempSync(join(folder, "kernel-"));
    const lib = join(root, "usr", "lib", "modules", version);
    const files = [join(root, "boot", `vmlinuz-${version}`), ...modules.map((path) => join(lib, "kernel", path))];
    for (const file of files) {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, file);
    }
    writeFileSync(join(lib, "modules.builtin"), builtIn.map((path) => `kernel/${path}\n`).join(""));
    return root;
  };
  const [tsm, guests] = [
    ["fs/configfs/configfs.ko", "drivers/virt/coco/tsm.ko"],
    ["sev-guest", "tdx-guest"],
  ];
  const reports = [...tsm, ...guests.map((name) => `drivers/virt/coco/${name}/${name}.ko`)];
  const machine = MACHINE_DRIVERS.map((path) => `${path}.ko`);

  test("brings its drivers as files, packed files, or built in, in the order in which they are loaded", () => {
    const [first = "", second = "", ...rest] = machine;
    const root = unpacked("6.12.1", [...rest, ...reports], [first]);
    const packed = join(root, "usr", "lib", "modules", "6.12.1", "kernel", second);
    mkdirSync(dirname(packed), { recursive: true });
    writeFileSync(`${packed}.xz`, execFileSync("xz", ["-c"], { input: "unpacked" }));
    const drivers = driversFor(kernelIn(root), { reports: true });
    expect(drivers[0]).toEqual({ name: second.split("/").at(-1), content: Buffer.from("unpacked") });
    expect(drivers.map(({ name }) => name).slice(-4)).toEqual([
      "configfs.ko",
      "tsm.ko",
      "sev-guest.ko",
      "tdx-guest.ko",
    ]);
    expect(driversFor(kernelIn(root), { reports: false })).toHaveLength(drivers.length - 4);
  });

  test("that makes no reports is refused where they are asked for, by its name and with what to do", () => {
    const kernel = kernelIn(unpacked("6.1.0-57-cloud-amd64", [...machine, "fs/configfs/configfs.ko"], []));
    expect(() => driversFor(kernel, { reports: true })).toThrow(
      /kernel 6\.1\.0-57-cloud-amd64 has no tsm: .*configfs-tsm needs Linux 6\.7 or newer: give --kernel .*bookworm-backports/,
    );
    expect(() => driversFor(kernel, { reports: false })).not.toThrow();
    expect(() => kernelIn(mkdtempSync(join(folder, "none-")))).toThrow("holds no kernel");
  });

  test.each<[string, string, readonly string[], readonly string[]]>([
    ["a TPM", "", ["tpmrm0", "RELEASE_KEY", "QUOTED_PCRS=4,11,12,13"], ["tsm.ko"]],
    ["a NitroTPM", "AGENTKEYS_TEE_EVIDENCE=aws-nitro\n", ["tpm0", "RELEASE_KEY"], ["tpmrm0", "QUOTED_PCRS"]],
    ["AWS's KMS", "AGENTKEYS_TEE_EVIDENCE=aws-nitro\nAGENTKEYS_TEE_SEALER=aws-kms\n", ["tpm0"], ["RELEASE_KEY"]],
    ["the kernel's reports", "AGENTKEYS_TEE_EVIDENCE=configfs-tsm\n", ["tpmrm0", "tsm.ko"], ["QUOTED_PCRS"]],
  ])("and settings for %s make what the image sets fit them", (_, settings, has, lacks) => {
    const entries = imageContents({
      ...{ init: Buffer.of(1), node: "/bin/true", worker: Buffer.of(2), settings, releaseKey: "key", hosts: "" },
      kernel: kernelIn(unpacked("6.12.1", [...machine, ...reports], [])),
    });
    const contents = (path: string): string =>
      Buffer.from(entries.find((one) => one.path === path)?.content ?? []).toString();
    const told = contents("app/settings.env") + contents("drivers/order");
    for (const word of has) expect(told).toContain(word);
    for (const word of lacks) expect(told).not.toContain(word);
    expect(contents("etc/nsswitch.conf")).toBe("hosts: files dns\n");
    expect(contents("etc/resolv.conf")).toBe("/run/resolv.conf");
  });
});

describe("an image", () => {
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
