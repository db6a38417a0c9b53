import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";

import { systemClock } from "@agentkeys/lib/clock";
import { type NitroPins, nitroVerifier } from "@agentkeys/lib/evidence/nitro";
import { createTestRoot } from "@agentkeys/lib/evidence/testing/authority";
import { issueNitroDocument } from "@agentkeys/lib/evidence/testing/nitro";
import { readCertificate } from "@agentkeys/lib/evidence/x509";
import { createLog } from "@agentkeys/lib/log";
import { systemRandom } from "@agentkeys/lib/random";
import {
  createPrimary,
  endorsementKey,
  nameOf,
  openTpm,
  readNvPublic,
  startSession,
  template,
  type Tpm,
  TpmError,
} from "@agentkeys/lib/tpm2";
import { hasSwtpm, startTestTpm, type TestTpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { readTeeSettings } from "../../../settings-tee.ts";
import { openHardware } from "../hardware.ts";
import { documentsByTpm } from "../kms/nitro-document.ts";
import { type NitroTpm, type NsmFields, startNitroTpm } from "../testing/nitro-tpm.ts";

const hour = 3_600_000;
const validity = { notBefore: new Date(Date.now() - hour), notAfter: new Date(Date.now() + hour) };
const root = createTestRoot("test nitro root", { random: systemRandom, validity });
const leaf = root.endEntity("i-0123456789abcdef0");
const hex = (fill: number): string => Buffer.alloc(48, fill).toString("hex");
const [nonce, reportData, publicKey] = [Buffer.alloc(20, 1), Buffer.alloc(32, 2), Buffer.alloc(900, 3)];

/** A document as the hypervisor issues it about an instance, under a test root. */
const document = ({ userData, nonce: asked, publicKey: key }: NsmFields): Buffer =>
  issueNitroDocument(
    {
      ...{ moduleId: "i-0123456789abcdef0", madeAt: new Date(), source: "nitrotpm" },
      pcrs: new Map(Array.from({ length: 24 }, (_, index) => [index, Buffer.alloc(48, 0x40 + index)])),
      ...{ userData, nonce: asked, publicKey: key },
    },
    { key: leaf.key, der: leaf.der, chain: root.chain },
  );

const pins: NitroPins = {
  source: "nitrotpm",
  roots: [readCertificate(root.der).fingerprint],
  code: [{ name: "pcr4", values: [hex(0x44)] }, { name: "pcr12", values: [hex(0x4c)] }], // prettier-ignore
  identity: [{ name: "module_id", values: ["i-0123456789abcdef0"] }],
  maxAgeMs: 60_000,
  clockSkewMs: 2_000,
};

describe.skipIf(!hasSwtpm("services/keys/backends/tee/providers/nitro-tpm", process.env))(
  "an instance with a NitroTPM, which a stand-in plays in front of a software TPM",
  () => {
    const folder = mkdtempSync(join(tmpdir(), "agentkeys-nitro-tpm-"));
    let behind: TestTpm;
    let front: NitroTpm | undefined;
    let tpm: Tpm | undefined;
    beforeEach(async () => {
      behind = await startTestTpm();
    });
    afterEach(async () => {
      await tpm?.close();
      await front?.stop();
      [tpm, front] = [undefined, undefined];
      await behind.stop();
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));
    const opened = async (issue: (fields: NsmFields) => Buffer | string): Promise<Tpm> => {
      front = await startNitroTpm(behind.address, folder, issue);
      return (tpm = await openTpm(front.address));
    };

    test("gives evidence and opens seals by one TPM and no program", async () => {
      front = await startNitroTpm(behind.address, folder, document);
      const settings = readTeeSettings({
        AGENTKEYS_KEYS_BROKER_URL: "https://broker.example",
        AGENTKEYS_TEE_SIGNER: "signer-1.example",
        AGENTKEYS_TEE_STATE_DIR: folder,
        AGENTKEYS_TEE_TPM: `unix:${front.address.unix}`,
        AGENTKEYS_TEE_SEAL_PCRS: "11",
        AGENTKEYS_TEE_EVIDENCE: "aws-nitro",
      });
      const log = createLog("keys", { level: "silent" });
      const parts = { random: systemRandom, clock: systemClock, log, tlsKey: publicKey };
      const { provider, vault, logCounter, close } = await openHardware(settings, parts);
      const { key, blob } = await vault.create();
      const derived = await key.mac(Buffer.from("an account"));
      for (let each = 0; each < 2; each++) {
        const evidence = await provider.evidence(reportData, nonce);
        const verified = nitroVerifier.verify(evidence, { nonce, reportData, at: new Date() }, pins);
        expect(verified.measurements).toEqual({ pcr4: hex(0x44), pcr12: hex(0x4c) });
        expect(verified.identity["public_key"]).toBe(publicKey.toString("hex"));
        expect(front.messages()).toBe(0);
      }
      if (logCounter !== "none") expect(await logCounter.increment()).toBeGreaterThan(0n);
      expect(await (await vault.open(blob)).mac(Buffer.from("an account"))).toEqual(derived);
      await close();
    });

    test("is asked for what was given only", async () => {
      const seen: NsmFields[] = [];
      const documents = documentsByTpm(await opened((fields) => (seen.push(fields), document(fields))));
      await documents({ "public-key": publicKey });
      await documents({ nonce, "user-data": reportData });
      expect(seen).toEqual([
        { publicKey, nonce: null, userData: null },
        { publicKey: null, nonce, userData: reportData },
      ]);
    });

    test("that refuses is quoted, and nothing is left in it", async () => {
      let says = "InputTooLarge";
      const documents = documentsByTpm(await opened(() => says));
      await expect(documents({ nonce })).rejects.toThrow("the NitroTPM gave no attestation document: InputTooLarge");
      expect(front?.messages()).toBe(0);
      says = "<script>";
      await expect(documents({ nonce })).rejects.toThrow(/gave no attestation document$/);
    });

    test("is another than a plain TPM, which knows no such message", async () => {
      tpm = await openTpm(behind.address);
      await expect(documentsByTpm(tpm)({ nonce })).rejects.toThrow(TpmError);
      expect(await tpm.use((t) => readNvPublic(t, 0x01800a18))).toBeUndefined();
    });

    test("has its usual endorsement key made anew where it was cleared, and a software TPM makes the same by our template", async () => {
      tpm = await openTpm(behind.address);
      await tpm.use(async (t) => {
        const kept = await endorsementKey(t);
        const made = await createPrimary(t, "endorsement", template.endorsementKey);
        expect(made.name).toEqual(nameOf(kept.public));
      });
    });

    test("keeps sessions by SHA-512 as the specification has them", async () => {
      tpm = await openTpm(behind.address);
      const nonceTpm = await tpm.use(async (t) => {
        const session = await startSession(t, "hmac", await endorsementKey(t), "sha512");
        expect(session.key).toHaveLength(64);
        return session.nonceTpm;
      });
      expect(nonceTpm).toHaveLength(16);
    });
  },
);
