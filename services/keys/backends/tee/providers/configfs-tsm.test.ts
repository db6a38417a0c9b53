import { describe, expect, test } from "vitest";

import { mediaTypes } from "@agentkeys/lib/evidence/evidence";
import { systemRandom } from "@agentkeys/lib/random";

import { FakeKernel } from "../testing/fake-kernel.ts";
import { configfsTsmProvider, tsmType } from "./configfs-tsm.ts";

const REPORT_DATA = Buffer.alloc(32, 7);
const [LEAF, ASK, ARK] = [Buffer.from("leaf"), Buffer.from("intermediate"), Buffer.from("root")];

const providerOn = (files: FakeKernel, type: "sev-snp" | "tdx" = "sev-snp") =>
  configfsTsmProvider({ type, files, random: systemRandom, root: "/tsm", endorsements: () => Promise.resolve([ARK]) });

describe("a report through configfs-tsm", () => {
  test.each(["sev-snp", "tdx"] as const)(
    "of %s is over the report data and 32 zero bytes, from an entry of its own",
    async (type) => {
      const kernel = new FakeKernel(type === "tdx" ? "tdx_guest" : "sev_guest");
      const provider = providerOn(kernel, type);
      const made = await provider.evidence(REPORT_DATA, Buffer.alloc(32));
      expect(made.mediaType).toBe(mediaTypes[type]);
      expect(Buffer.from(made.evidence)).toEqual(
        Buffer.concat([Buffer.from("report over "), REPORT_DATA, Buffer.alloc(32)]),
      );
      expect(made.endorsements).toEqual([ARK]);
      await provider.evidence(REPORT_DATA, Buffer.alloc(32));
      expect([kernel.everMade, kernel.entries.size]).toEqual([2, 0]);
    },
  );

  test("is made in the entry that whoever started us has given to us, one at a time", async () => {
    const kernel = new FakeKernel("sev_guest");
    kernel.entries.set("/tsm/agentkeys", { generation: 0, inblob: new Uint8Array() });
    const provider = providerOn(kernel);
    const asked = [1, 2, 3].map((fill) => Buffer.alloc(32, fill));
    const made = await Promise.all(asked.map((reportData) => provider.evidence(reportData, Buffer.alloc(32))));
    expect(made.map(({ evidence }) => evidence[12])).toEqual([1, 2, 3]);
    expect(await tsmType({ files: kernel, random: systemRandom, root: "/tsm" })).toBe("sev-snp");
    expect([kernel.everMade, [...kernel.entries.keys()]]).toEqual([0, ["/tsm/agentkeys"]]);
  });

  test("brings the certificates that the host hands out, in the order of a chain", async () => {
    const kernel = new FakeKernel("sev_guest", tableOf({ ark: ARK, vcek: LEAF, ask: ASK }));
    const { endorsements } = await providerOn(kernel).evidence(REPORT_DATA, Buffer.alloc(32));
    expect(endorsements.map((one) => Buffer.from(one).toString())).toEqual(["leaf", "intermediate", "root"]);
    const part = new FakeKernel("sev_guest", tableOf({ vcek: LEAF }));
    expect((await providerOn(part).evidence(REPORT_DATA, Buffer.alloc(32))).endorsements).toEqual([ARK]);
  });

  test("that something else wrote to meanwhile is thrown away, and its entry removed", async () => {
    const kernel = new FakeKernel("sev_guest", undefined, (entry) => entry.generation++);
    await expect(providerOn(kernel).evidence(REPORT_DATA, Buffer.alloc(32))).rejects.toThrow("something else wrote");
    expect(kernel.entries.size).toBe(0);
  });

  test("is not asked of another maker than the settings say", async () => {
    const kernel = new FakeKernel("tdx_guest");
    await expect(providerOn(kernel).evidence(REPORT_DATA, Buffer.alloc(32))).rejects.toThrow("made by tdx_guest");
  });

  test("is over a digest and nothing else", async () => {
    const kernel = new FakeKernel("sev_guest");
    await expect(providerOn(kernel).evidence(Buffer.alloc(64), Buffer.alloc(32))).rejects.toThrow("32 bytes");
  });
});

describe("which reports a kernel makes", () => {
  test.each([
    ["sev_guest", "sev-snp"],
    ["tdx_guest", "tdx"],
  ])("%s is asked, and its entry removed", async (maker, type) => {
    const kernel = new FakeKernel(maker);
    expect(await tsmType({ files: kernel, random: systemRandom })).toBe(type);
    expect([kernel.everMade, kernel.entries.size]).toEqual([1, 0]);
  });

  test("another maker is not known, and no kernel is told in words", async () => {
    const kernel = new FakeKernel("arm_cca_guest");
    await expect(tsmType({ files: kernel, random: systemRandom })).rejects.toThrow("made by arm_cca_guest");
    expect(kernel.entries.size).toBe(0);
    await expect(tsmType({ random: systemRandom, root: "/nonexistent" })).rejects.toThrow("there is no configfs-tsm");
  });
});

/** A table as a host writes it (GHCB specification, section 4.1.8.1). */
function tableOf(certificates: Partial<Record<"vcek" | "ask" | "ark", Buffer>>): Buffer {
  const guids = {
    vcek: "63da758de6644564adc5f4b93be8accd",
    ask: "4ab7b379bbac4fe4a02f05aef327c782",
    ark: "c0b406a4a803495297433fb6014cd0ae",
  };
  const list = Object.entries(certificates);
  let offset = 24 * (list.length + 1);
  const entries = list.map(([name, certificate]) => {
    const entry = Buffer.alloc(24);
    entry.write(guids[name as keyof typeof guids], "hex");
    entry.writeUInt32LE(offset, 16);
    entry.writeUInt32LE(certificate.length, 20);
    offset += certificate.length;
    return entry;
  });
  return Buffer.concat([...entries, Buffer.alloc(24), ...list.map(([, certificate]) => certificate)]);
}
