import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";

import { type NitroPins, nitroVerifier } from "@agentkeys/lib/evidence/nitro";

import { documentsByProgram } from "../kms/nitro-document.ts";
import { createNitroProgram } from "../testing/nitro-program.ts";
import { awsNitroProvider } from "./aws-nitro.ts";

const folder = mkdtempSync(join(tmpdir(), "agentkeys-nitro-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const [nonce, reportData, publicKey] = [Buffer.alloc(20, 1), Buffer.alloc(32, 2), Buffer.from("a public key")];
const { program, rootSha256 } = createNitroProgram(folder, 0x40);
const hex = (fill: number): string => Buffer.alloc(48, fill).toString("hex");
const pins: NitroPins = {
  source: "enclave",
  roots: [rootSha256],
  code: [{ name: "pcr0", values: [hex(0x40)] }],
  identity: [{ name: "pcr3", values: [hex(0x43)] }],
  maxAgeMs: 60_000,
  clockSkewMs: 2_000,
};

test("the program's document is over nonce, report data and key, and is what its verifier takes", async () => {
  const evidence = await awsNitroProvider({ documents: documentsByProgram(program), publicKey }).evidence(
    reportData,
    nonce,
  );
  const at = new Date();
  const verified = nitroVerifier.verify(evidence, { nonce, reportData, at }, pins);
  expect(verified.measurements).toEqual({ pcr0: hex(0x40) });
  expect(verified.identity["public_key"]).toBe(publicKey.toString("hex"));
  const other = Buffer.alloc(32, 3);
  expect(() => nitroVerifier.verify(evidence, { nonce: other, reportData, at }, pins)).toThrow("nonce");
  expect(() => nitroVerifier.verify(evidence, { nonce, reportData: other, at }, pins)).toThrow("user_data");
});

test.each(["nonce", "user-data", "public-key"])("a program that ignores --%s gives no evidence", async (option) => {
  const deaf = join(folder, `without-${option}`);
  writeFileSync(deaf, `#!/bin/sh\nexec '${program}' $(echo "$@" | sed 's|--${option} [^ ]*||')\n`, { mode: 0o700 });
  const documents = documentsByProgram(deaf);
  await expect(awsNitroProvider({ documents, publicKey }).evidence(reportData, nonce)).rejects.toThrow(
    `the document is without what ${option} named`,
  );
});

test.each([
  ["is not there", undefined],
  ["says nothing", "#!/bin/sh\n"],
  ["fails", "#!/bin/sh\necho document\nexit 3\n"],
])("a program that %s gives no evidence, and nothing is left behind", async (name, script) => {
  const path = join(folder, name.replaceAll(" ", "-"));
  if (script !== undefined) writeFileSync(path, script, { mode: 0o700 });
  const before = readdirSync(tmpdir()).filter((each) => each.startsWith("agentkeys-attest-"));
  await expect(
    awsNitroProvider({ documents: documentsByProgram(path), publicKey }).evidence(reportData, nonce),
  ).rejects.toThrow(`${path} gave no attestation document`);
  const after = readdirSync(tmpdir()).filter((each) => each.startsWith("agentkeys-attest-"));
  expect(after.filter((each) => !before.includes(each))).toEqual([]);
});
