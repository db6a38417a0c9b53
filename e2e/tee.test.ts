import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { hasSwtpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { type Cloud, startLocalCloud } from "./harness/cloud.ts";
import { isolationFaults, type Tenant } from "./harness/isolation.ts";
import { createMachine, type Machine, type SignIn, succeeded } from "./harness/machine.ts";
import { plainBrowser } from "./harness/plain-browser.ts";
import { startSystem, type System } from "./harness/system.ts";
import type { TeeKeys } from "./harness/tee-keys.ts";
import { demandWhatIsThere } from "./harness/tee-policy.ts";
import { openS3, prepareVault, type Vault } from "./harness/vault.ts";

const suite = describe.skipIf(!hasSwtpm("the whole flow on the TEE worker", process.env));

suite("on the TEE worker, attested,", () => {
  let system: System;
  let cloud: Cloud;
  let vault: Vault;
  let worker: TeeKeys;
  const people: { machine: Machine; signIn: SignIn; tenant: Tenant }[] = [];
  const scratch = mkdtempSync(join(tmpdir(), "agentkeys-tee-"));

  beforeAll(async () => {
    [system, cloud] = await Promise.all([startSystem({ tee: {}, scratch }), startLocalCloud()]);
    worker = system.tee!;
    vault = await prepareVault(cloud, system.broker.publicUrl);
    for (const name of ["Ada", "Bob"]) {
      const env = { AGENTKEYS_AWS_ROLE_ARN: vault.roleArn, AWS_ENDPOINT_URL_STS: cloud.url };
      const machine = createMachine({ system, env, scratch });
      await demandWhatIsThere(machine);
      const signIn = await machine.signIn(`${name.toLowerCase()}@example.com`, plainBrowser());
      const tenant = { name, wallet: signIn.wallet, s3: openS3(cloud.url, await machine.credentials()) };
      people.push({ machine, signIn, tenant });
    }
  });
  afterAll(async () => {
    for (const { tenant } of people) tenant.s3.destroy();
    await Promise.all([system.close(), cloud.close()]);
    rmSync(scratch, { recursive: true, force: true });
  });

  const ada = (): (typeof people)[number] => people[0]!;
  const audited = async (machine: Machine): Promise<{ outcome: string; index: number }[]> => {
    const { entries } = JSON.parse(succeeded(await machine.agentkeys("audit", "signatures", "--json"))) as {
      entries: { outcome: string; index: number }[];
    };
    return entries;
  };

  test("two people have their own places, and neither can use the other's", async () => {
    expect(
      await isolationFaults(
        vault.bucket,
        people.map(({ tenant }) => tenant),
      ),
    ).toEqual([]);
  });

  test("every check of the policy holds", async () => {
    const outcome = await ada().machine.agentkeys("attest", "verify");
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(outcome.stdout).toMatch(/^pass {2}evidence +tpm2: pcr11 [0-9a-f]{64}, ak_name 000b[0-9a-f]{64}$/m);
  });

  test("a machine without a policy is not let near it by its certificate", async () => {
    const machine = createMachine({ system, scratch, env: { AGENTKEYS_STATE_DIR: ada().machine.folder } });
    const outcome = await machine.agentkeys("token");
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain("its certificate is not trusted by this machine");
    expect(outcome.stderr).toContain("AGENTKEYS_ATTESTATION_POLICY");
  });

  test("each signature is in the log, for its own account only", async () => {
    const before = await audited(ada().machine);
    expect(before.length).toBeGreaterThan(0);
    succeeded(await ada().machine.agentkeys("token"));
    const after = await audited(ada().machine);
    expect(after).toHaveLength(before.length + 1);
    expect(after[0]).toMatchObject({ outcome: "signed" });
    const bobs = new Set((await audited(people[1]!.machine)).map(({ index }) => index));
    expect(after.filter(({ index }) => bobs.has(index))).toEqual([]);
  });

  test("an account moves here from the development backend with a fresh sign-in, and its old wallet is retired", async () => {
    const development = await system.startKeys({});
    const machine = createMachine({ system, scratch, env: { AGENTKEYS_KEYS_URL: development.url } });
    const { wallet: before } = await machine.signIn("eve@example.com", plainBrowser());
    machine.env["AGENTKEYS_KEYS_URL"] = worker.url;
    await demandWhatIsThere(machine);
    expect((await machine.agentkeys("token")).stderr).toContain("agentkeys migrate-wallet");

    const running = machine.agentkeys("migrate-wallet", "--yes", "--json");
    const [link = ""] = (await system.nextMail("eve@example.com")).links;
    await plainBrowser().confirm(link);
    const [last = ""] = succeeded(await running)
      .trim()
      .split("\n")
      .slice(-1);
    const { new_wallet: after } = JSON.parse(last) as { new_wallet: string };
    expect(JSON.parse(last)).toMatchObject({ migrated: true, old_wallet: before, old_wallet_retired: true });
    expect(after).not.toBe(before);
    const claims = decodeJwt(succeeded(await machine.agentkeys("token")).trim());
    expect(claims["agentkeys_user_wallet"]).toBe(after);
  });

  test("turned off and on, it is the same worker with the same wallets", async () => {
    await worker.reboot();
    succeeded(await ada().machine.agentkeys("token"));
    const again = createMachine({ system, scratch });
    await demandWhatIsThere(again);
    expect((await again.signIn("ada@example.com", plainBrowser())).wallet).toBe(ada().signIn.wallet);
  });

  test("changed code neither opens what was sealed nor gets anything from a machine", async () => {
    await expect(worker.reboot("release 1, with one comment more")).rejects.toMatchObject({ refusal: "MEASUREMENT" });
    await worker.reboot();
    const { machine } = ada();
    const policyFile = machine.env["AGENTKEYS_ATTESTATION_POLICY"]!;
    const policy = readFileSync(policyFile, "utf8");
    try {
      writeFileSync(policyFile, policy.replace(/("pcr11": \[\s*")[0-9a-f]{64}/, `$1${"ab".repeat(32)}`));
      const outcome = await machine.agentkeys("token", "--json");
      expect(outcome.code).toBe(1);
      expect(outcome.stderr).toContain("ATTESTATION_MEASUREMENT");
    } finally {
      writeFileSync(policyFile, policy);
    }
  });

  test("a disk that was put back is refused by the worker", async () => {
    const copy = join(scratch, "backup");
    await worker.off();
    cpSync(worker.stateFolder, copy, { recursive: true });
    await worker.reboot();
    await worker.off();
    rmSync(worker.stateFolder, { recursive: true });
    cpSync(copy, worker.stateFolder, { recursive: true });
    await expect(worker.reboot()).rejects.toMatchObject({ refusal: "ROLLED_BACK" });
  });

  test("no secret of the worker is on its disk", () => {
    const names = readdirSync(worker.stateFolder, { recursive: true, encoding: "utf8" });
    expect(names).toContain("state.json");
    expect(names.some((name) => name.startsWith("sign-log"))).toBe(true);
    const state = JSON.parse(readFileSync(join(worker.stateFolder, "state.json"), "utf8")) as Record<string, unknown>;
    expect(Object.keys(state)).not.toContain("secret");
    expect(state["vault"]).toBe("tpm2-pcr");
  });
});
