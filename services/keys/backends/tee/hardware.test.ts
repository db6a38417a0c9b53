import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { systemClock } from "@agentkeys/lib/clock";
import { selfSigned } from "@agentkeys/lib/evidence/certificate";
import { mediaTypes } from "@agentkeys/lib/evidence/evidence";
import { nitroVerifier } from "@agentkeys/lib/evidence/nitro";
import { createLog } from "@agentkeys/lib/log";
import { systemRandom } from "@agentkeys/lib/random";
import { hasSwtpm, startTestTpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { readTeeSettings } from "../../settings-tee.ts";
import { deviceRandom } from "./device-random.ts";
import { claimedHardware, openHardware } from "./hardware.ts";
import { FakeKernel } from "./testing/fake-kernel.ts";
import { createNitroProgram } from "./testing/nitro-program.ts";

const folder = mkdtempSync(join(tmpdir(), "agentkeys-hardware-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const log = createLog("keys", { level: "silent" });
const endorsements = join(folder, "endorsements");
const unused = (): Promise<never> => Promise.reject(new Error("nothing is sealed when a machine is opened"));

const least = {
  AGENTKEYS_KEYS_BROKER_URL: "https://broker.example",
  AGENTKEYS_TEE_SIGNER: "signer-1.example",
  AGENTKEYS_TEE_STATE_DIR: folder,
};

/** A confidential machine on EC2 without a TPM: the kernel's reports vouch for it, and KMS seals. */
const settingsWith = (changes: Record<string, string> = {}) =>
  readTeeSettings({
    ...least,
    AGENTKEYS_TEE_TPM: "none",
    AGENTKEYS_TEE_SEALER: "aws-kms",
    AGENTKEYS_TEE_KMS_KEY: "arn:aws:kms:eu-central-1:123456789012:key/7b0c2f5e-0d4d-4b43-9c40-2e4b2a0f8f11",
    AGENTKEYS_TEE_ATTEST_PROGRAM: "/usr/bin/nitro-tpm-attest",
    AGENTKEYS_TEE_EVIDENCE: "configfs-tsm",
    ...changes,
  });

/** Opens it; `closed` counts how often its KMS was let go of. */
function opening(maker: string, changes: Record<string, string> = {}) {
  const seen = { closed: 0 };
  const close = (): void => {
    seen.closed++;
  };
  const hardware = openHardware(settingsWith(changes), {
    ...{ random: systemRandom, clock: systemClock, log, tlsKey: Buffer.alloc(91) },
    tsmFiles: new FakeKernel(maker),
    kms: () => Promise.resolve({ generateDataKey: unused, decrypt: unused, close }),
  });
  return { hardware, seen };
}

describe("a machine whose kernel makes reports", () => {
  test("of TDX brings the collateral of a file, as it is at each time", async () => {
    writeFileSync(endorsements, "{}");
    const { hardware, seen } = opening("tdx_guest", { AGENTKEYS_TEE_ENDORSEMENTS: endorsements });
    const { provider, counters, logCounter, close } = await hardware;
    const evidence = () => provider.evidence(Buffer.alloc(32, 1), Buffer.alloc(32));
    expect(await evidence()).toMatchObject({ mediaType: mediaTypes.tdx, endorsements: [Buffer.from("{}")] });
    writeFileSync(endorsements, "{ }");
    expect(await evidence()).toMatchObject({ endorsements: [Buffer.from("{ }")] });
    expect([counters, logCounter]).toEqual(["none", "none"]);
    await close();
    expect(seen.closed).toBe(1);
  });

  test("of TDX is not opened without collateral, and lets go of what it opened", async () => {
    const { hardware, seen } = opening("tdx_guest");
    await expect(hardware).rejects.toThrow("AGENTKEYS_TEE_ENDORSEMENTS");
    expect(seen.closed).toBe(1);
  });

  test("of SEV-SNP brings a file's certificates where its host hands out none", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const [notBefore, notAfter] = [new Date(0), new Date(1e12)];
    const { pem } = selfSigned({
      key: privateKey,
      names: ["x"],
      subject: "VCEK",
      notBefore,
      notAfter,
      random: systemRandom,
    });
    writeFileSync(endorsements, `made by hand\n${pem}${pem}`);
    const { provider } = await opening("sev_guest", { AGENTKEYS_TEE_ENDORSEMENTS: endorsements }).hardware;
    const made = await provider.evidence(Buffer.alloc(32, 1), Buffer.alloc(32));
    expect(made.mediaType).toBe(mediaTypes["sev-snp"]);
    expect(made.endorsements).toHaveLength(2);
  });
});

test("a machine whose hypervisor makes documents has the worker's TLS key in each", async () => {
  const { program, rootSha256 } = createNitroProgram(folder, 0x40);
  const tlsKey = systemRandom(91);
  const { provider, close } = await openHardware(
    settingsWith({ AGENTKEYS_TEE_EVIDENCE: "aws-nitro", AGENTKEYS_TEE_ATTEST_PROGRAM: program }),
    {
      ...{ random: systemRandom, clock: systemClock, log, tlsKey },
      kms: () => Promise.resolve({ generateDataKey: unused, decrypt: unused, close: () => undefined }),
    },
  );
  const [nonce, reportData] = [systemRandom(32), systemRandom(32)];
  const verified = nitroVerifier.verify(
    await provider.evidence(reportData, nonce),
    { nonce, reportData, at: new Date() },
    {
      source: "enclave",
      roots: [rootSha256],
      code: [{ name: "pcr0", values: ["40".repeat(48)] }],
      identity: [{ name: "pcr3", values: ["43".repeat(48)] }],
      maxAgeMs: 60_000,
      clockSkewMs: 2_000,
    },
  );
  expect(verified.identity["public_key"]).toBe(Buffer.from(tlsKey).toString("hex"));
  await close();
});

test.skipIf(!hasSwtpm("Azure's evidence on another machine", process.env))(
  "a machine that is said to be Azure's, and is not, gives no evidence and says why",
  async () => {
    const tpm = await startTestTpm();
    const settings = readTeeSettings({
      ...least,
      AGENTKEYS_TEE_TPM: `unix:${tpm.address.unix}`,
      AGENTKEYS_TEE_SEAL_PCRS: "11",
      AGENTKEYS_TEE_EVIDENCE: "azure-cvm",
    });
    const parts = { random: systemRandom, clock: systemClock, log, tlsKey: Buffer.alloc(91) };
    const { provider, counters, close } = await openHardware(settings, parts);
    expect(provider.mediaType).toBe(mediaTypes["azure-cvm"]);
    expect(counters).not.toBe("none");
    await expect(provider.evidence(Buffer.alloc(32, 1), Buffer.alloc(32))).rejects.toThrow(
      "no confidential VM of Azure",
    );
    await close();
    await tpm.stop();
  },
);

test("a TPM that is not there is named, with what to look at", async () => {
  const settings = readTeeSettings({ ...least, AGENTKEYS_TEE_TPM: "unix:/nowhere/tpm", AGENTKEYS_TEE_SEAL_PCRS: "11" });
  const opened = openHardware(settings, { random: systemRandom, clock: systemClock, log, tlsKey: Buffer.alloc(91) });
  await expect(opened).rejects.toMatchObject({ name: "UnsealRefused", refusal: "DEVICE" });
  await expect(opened).rejects.toThrow("/nowhere/tpm: is AGENTKEYS_TEE_TPM right");
});

test.skipIf(!hasSwtpm("a seal that another system can open", process.env)).each([
  ["11", true],
  ["7,11", false],
  ["4", false],
])("a seal to PCR %s is warned of: %s, since another system could put its values there", async (pcrs, warned) => {
  const tpm = await startTestTpm();
  let said = "";
  const { close } = await openHardware(
    readTeeSettings({ ...least, AGENTKEYS_TEE_TPM: `unix:${tpm.address.unix}`, AGENTKEYS_TEE_SEAL_PCRS: pcrs }),
    {
      ...{ random: systemRandom, clock: systemClock, tlsKey: Buffer.alloc(91) },
      log: createLog("keys", { level: "warn", destination: { write: (line) => void (said += line) } }),
    },
  );
  expect(said.includes("neither PCR 4 nor PCR 7")).toBe(warned);
  await close();
  await tpm.stop();
});

test("the attested settings say what decides whom the master secret opens for", () => {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const settings = settingsWith();
  expect(claimedHardware(settings)).toEqual({
    counters: "none",
    root_key: "memory",
    sealed_to: "arn:aws:kms:eu-central-1:123456789012:key/7b0c2f5e-0d4d-4b43-9c40-2e4b2a0f8f11",
    sealer: "aws-kms",
  });
  const tpm = { ...settings, tpm: { device: "/dev/tpmrm0" }, rootKey: "tpm" } as const;
  expect(claimedHardware({ ...tpm, seal: { by: "tpm2", pcrs: [11, 4, 11] } })).toEqual({
    counters: "tpm2",
    root_key: "tpm",
    sealed_to: "pcrs 4,11",
    sealer: "tpm2",
  });
  const released = claimedHardware({ ...tpm, seal: { by: "tpm2", releaseKey: publicKey, approvals: [] } });
  expect(released["sealed_to"]).toMatch(/^release key [0-9a-f]{64}$/);
  // By the time that anybody is answered, it is sealed for the next key.
  const next = { releaseKey: publicKey, approvals: [] };
  expect(claimedHardware({ ...tpm, seal: { by: "tpm2", pcrs: [11], next } })["sealed_to"]).toBe(released["sealed_to"]);
});

describe("randomness of the kernel's hardware generator", () => {
  const device = join(folder, "hwrng");

  test("is as much as was asked for", async () => {
    writeFileSync(device, Buffer.alloc(64, 7));
    expect(await deviceRandom(device)(32)).toEqual(Buffer.alloc(32, 7));
  });

  test("is nothing where there is too little, or no generator", async () => {
    writeFileSync(device, Buffer.alloc(31, 7));
    await expect(deviceRandom(device)(32)).rejects.toThrow("gives no randomness");
    await expect(deviceRandom(join(folder, "nowhere"))(32)).rejects.toThrow("cannot be opened");
  });
});
