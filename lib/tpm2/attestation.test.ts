import { spawnSync } from "node:child_process";
import { randomBytes, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import {
  activateCredential,
  createPrimary,
  EK_RSA_CERTIFICATE_INDEX,
  EK_RSA_HANDLE,
  isSignedBy,
  makeCredential,
  parseQuote,
  parseSignature,
  pcrDigest,
  policyDigest,
  policyEndorsement,
  publicKeyOf,
  quote,
  readNv,
  readPcrs,
  readPublic,
  startSession,
  template,
} from "./index.ts";
import { refusal, tpmForEachTest } from "./testing/each-test.ts";
import { hasSwtpm } from "./testing/swtpm.ts";

const PCR = 12;

describe.skipIf(!hasSwtpm("lib/tpm2, attestation", process.env))("a TPM that attests", () => {
  const bench = tpmForEachTest();

  test("asks for the endorsement key's policy as the TCG's EK credential profile has it (annex B.3)", async () => {
    await bench.tpm.use(async (t) => {
      const session = await startSession(t, "policy", await createPrimary(t, "owner", template.storageRootKey));
      await policyEndorsement(t, session);
      expect((await policyDigest(t, session)).toString("hex")).toBe(
        "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa",
      );
    });
  });

  test("quotes what tpm2-tools accept too, and what we verify", async () => {
    const extra = randomBytes(32);
    const pcrs = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, PCR];
    const made = await bench.tpm.use(async (t) => {
      const key = await createPrimary(t, "endorsement", template.attestationKey("test"));
      return { key, ...(await quote(t, key, extra, pcrs)), values: await readPcrs(t, pcrs) };
    });
    expect(isSignedBy(publicKeyOf(made.key.public), made.attest, parseSignature(made.signature))).toBe(true);
    const parsed = parseQuote(made.attest);
    expect(parsed.extraData).toEqual(extra);
    expect(parsed.pcrs).toEqual([{ hash: "sha256", pcrs }]);
    expect(parsed.pcrDigest).toEqual(pcrDigest(made.values));

    const folder = mkdtempSync(join(tmpdir(), "agentkeys-quote-"));
    try {
      const file = (name: string, contents: Uint8Array | string): string => {
        writeFileSync(join(folder, name), contents);
        return join(folder, name);
      };
      const checked = spawnSync("tpm2_checkquote", [
        ...["-u", file("ak.pem", publicKeyOf(made.key.public).export({ format: "pem", type: "spki" }))],
        ...["-m", file("quote.msg", made.attest)],
        ...["-s", file("quote.sig", made.signature)],
        ...["-q", extra.toString("hex")],
      ]);
      // Where tpm2-tools are not installed there is no second opinion; CI installs them.
      if (process.env["CI"] === "true" || checked.error === undefined) expect(checked.status).toBe(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("has the same attestation key at every boot, and another for another label", async () => {
    const nameOfKey = (label: string): Promise<string> =>
      bench.tpm.use(async (t) =>
        Buffer.from((await createPrimary(t, "endorsement", template.attestationKey(label))).name).toString("hex"),
      );
    const before = await nameOfKey("a");
    await bench.reboot();
    expect(await nameOfKey("a")).toBe(before);
    expect(await nameOfKey("b")).not.toBe(before);
  });

  test("gives out a credential only to the key that it was made for, beside the endorsement key", async () => {
    const secret = randomBytes(32);
    const activate = (challengedName?: Uint8Array): Promise<Buffer> =>
      bench.tpm.use(async (t) => {
        const endorsement = await readPublic(t, EK_RSA_HANDLE);
        const key = await createPrimary(t, "endorsement", template.attestationKey("test"));
        const challenge = makeCredential(endorsement.public, challengedName ?? key.name, secret);
        const session = await startSession(t, "policy", endorsement);
        await policyEndorsement(t, session);
        return activateCredential(t, key, endorsement, challenge, session);
      });
    expect(await activate()).toEqual(secret);
    expect(Buffer.concat(bench.tap).includes(secret)).toBe(false);
    const other = await bench.tpm.use((t) => createPrimary(t, "endorsement", template.attestationKey("other")));
    expect((await refusal(activate(other.name))).is("integrity")).toBe(true);
  });

  test("keeps its endorsement certificate where the profile says, for the endorsement key that it holds", async () => {
    const { certificate, key } = await bench.tpm.use(async (t) => ({
      certificate: new X509Certificate((await readNv(t, EK_RSA_CERTIFICATE_INDEX)) ?? Buffer.alloc(0)),
      key: publicKeyOf((await readPublic(t, EK_RSA_HANDLE)).public),
    }));
    expect(certificate.publicKey.equals(key)).toBe(true);
    expect(certificate.verify(new X509Certificate(bench.machine.authority.issuer).publicKey)).toBe(true);
  });
});
