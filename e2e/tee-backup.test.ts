import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { draftPolicy } from "agentkeys/attestation/draft.ts";
import { createTlsIdentity } from "agentkeys/testing/attested-service.ts";
import { startRelay } from "agentkeys/testing/relay.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { prepareBackup } from "@agentkeys/keys/backends/tee/backup/deposit.ts";
import { claimedBackup, type BackupPlan, readBackupPlan } from "@agentkeys/keys/backends/tee/backup/plan.ts";
import { askForEvidence } from "@agentkeys/lib/attested/ask";
import { openConnection } from "@agentkeys/lib/attested/connection";
import { systemClock } from "@agentkeys/lib/clock";
import { signRecoveryTicket, type TicketMachine } from "@agentkeys/lib/evidence/recovery-ticket";
import { keyFingerprint } from "@agentkeys/lib/evidence/release-key";
import { systemRandom } from "@agentkeys/lib/random";
import { hasSwtpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { createMachine, type Machine, succeeded } from "./harness/machine.ts";
import { plainBrowser } from "./harness/plain-browser.ts";
import { startSystem, type System } from "./harness/system.ts";
import { createTeeHost, type TeeHost } from "./harness/tee-host.ts";
import { demandWhatIsThere } from "./harness/tee-policy.ts";

type Json = Record<string, unknown>;

const recoveryKey = generateKeyPairSync("ec", { namedCurve: "P-256" });
const recoveryPem = recoveryKey.publicKey.export({ format: "pem", type: "spki" }).toString();
const scratch = mkdtempSync(join(tmpdir(), "agentkeys-backup-"));

/** Two workers that are backed up to the same three: one has its root key in memory, one in its TPM. */
const ROOT_KEYS = ["memory", "tpm"] as const;
type RootKey = (typeof ROOT_KEYS)[number];
const signerOf = (rootKey: RootKey): string => `owner-${rootKey}.example`;

describe.skipIf(!hasSwtpm("the backup of a master secret", process.env))(
  "a master secret backed up, two of three,",
  () => {
    let system: System;
    let custodians: TeeHost[];
    /** What the custodians' policies are, as the owners' files have them. */
    let backupFile: string;
    let plan: BackupPlan;
    const hosts: TeeHost[] = [];
    const owners = {} as Record<RootKey, TeeHost>;
    const backupIds = {} as Record<RootKey, string>;
    let ada: { machine: Machine; wallet: string };

    const newHost = async (signer: string, env: Record<string, string> = {}): Promise<TeeHost> => {
      const host = await createTeeHost({ signer, broker: system.broker, scratch, env });
      hosts.push(host);
      return host;
    };
    const ownerHost = (rootKey: RootKey): Promise<TeeHost> =>
      newHost(signerOf(rootKey), { AGENTKEYS_TEE_BACKUP: backupFile, AGENTKEYS_TEE_ROOT_KEY: rootKey });
    const lineOf = (host: TeeHost, words: string): Json => {
      const line = host.logged.filter((each) => each.includes(words)).at(-1);
      return JSON.parse(line ?? `{"nothing":"was logged of ${words}"}`) as Json;
    };
    const machineOf = (host: TeeHost): TicketMachine => lineOf(host, "this machine, for")["machine"] as TicketMachine;
    const ticketFile = async (machine: TicketMachine, backupId: string, lifeMs = 3_600_000): Promise<string> => {
      const issuedAt = Math.floor(Date.now() / 1000) * 1000 - 3_600_000;
      const expiresAt = issuedAt + 3_600_000 + lifeMs;
      const path = join(mkdtempSync(join(scratch, "ticket-")), "recovery-ticket");
      writeFileSync(path, await signRecoveryTicket({ backupId, machine, issuedAt, expiresAt }, recoveryKey.privateKey));
      return path;
    };

    /** The policy that a custodian keeps to, from what it shows, with the settings that it will have. */
    async function enrolled(custodian: TeeHost): Promise<Json & { settings: Json; platforms: Json[] }> {
      const connection = await openConnection(custodian.url);
      const { answer, asked } = await askForEvidence(connection, { clock: systemClock, random: systemRandom });
      connection.close();
      const policy = JSON.parse(draftPolicy(answer, asked, { roots: [] }).text) as Json & {
        settings: Json;
        platforms: Json[];
      };
      return {
        ...policy,
        settings: { ...policy.settings, custody: [`recovery key ${keyFingerprint(recoveryKey.publicKey)}`] },
      };
    }

    function writeCustody(policy: { settings: Json; platforms: Json[] }): void {
      const { custody, ...common } = policy.settings;
      expect(custody).toBeDefined();
      const owner = (rootKey: RootKey): Json => ({
        signer: signerOf(rootKey),
        recovery_key: recoveryPem,
        max_evidence_age_s: 60,
        clock_skew_s: 30,
        settings: { ...common, root_key: rootKey, backup: claimedBackup(plan) },
        platforms: [{ ...policy.platforms[0], identity: { ak_name: [machineOf(owners[rootKey]).value] } }],
      });
      const path = join(scratch, "custody.json");
      writeFileSync(path, JSON.stringify({ version: 1, owners: ROOT_KEYS.map(owner) }));
      for (const custodian of custodians) custodian.env["AGENTKEYS_TEE_CUSTODY"] = path;
    }

    beforeAll(async () => {
      system = await startSystem({ scratch });
      custodians = await Promise.all([1, 2, 3].map((i) => newHost(`custodian-${i}.example`)));
      for (const custodian of custodians) await custodian.start({ allowGenesis: true });
      const policies = await Promise.all(custodians.map(enrolled));
      backupFile = join(scratch, "backup.json");
      writeFileSync(
        backupFile,
        JSON.stringify({
          version: 1,
          threshold: 2,
          recovery_key: recoveryPem,
          custodians: custodians.map(({ url }, i) => ({ url, policy: policies[i] })),
        }),
      );
      plan = await readBackupPlan({ path: backupFile, text: readFileSync(backupFile, "utf8") });

      for (const rootKey of ROOT_KEYS) {
        owners[rootKey] = await ownerHost(rootKey);
        // The custodians are not set up for it yet. It tells what it is called, and makes nothing.
        await expect(owners[rootKey].start({ allowGenesis: true })).rejects.toMatchObject({
          refusal: "BACKUP_INCOMPLETE",
        });
        expect(existsSync(join(owners[rootKey].stateFolder, "state.json"))).toBe(false);
      }
      writeCustody(policies[0]!);
      for (const custodian of custodians) await custodian.start();
    });
    afterAll(async () => {
      await system.close();
      for (const host of hosts) await host.destroy();
      rmSync(scratch, { recursive: true, force: true });
    });

    test("is used only after every custodian has its share", async () => {
      const owner = owners.memory;
      await custodians[2]!.off();
      await expect(owner.start({ allowGenesis: true })).rejects.toThrow(
        /1 of 3 custodians did not take a share: .*does not answer \(ECONNREFUSED\); no master secret was made/,
      );
      expect(readdirSync(owner.stateFolder)).not.toContain("state.json");
      await custodians[2]!.start();
      for (const rootKey of ROOT_KEYS) {
        await owners[rootKey].start({ allowGenesis: true });
        backupIds[rootKey] = String(lineOf(owners[rootKey], "backed up: keep the id")["backup_id"]);
        expect(backupIds[rootKey]).toMatch(/^[0-9a-f]{64}$/);
        for (const { stateFolder } of custodians) {
          expect(readdirSync(join(stateFolder, "shares"))).toContain(`${backupIds[rootKey]}.json`);
        }
      }
    });

    test("is not backed up a second time by a restart, and one that was not is", async () => {
      const owner = owners.memory;
      const count = (): number => owner.logged.filter((line) => line.includes("backed up: keep the id")).length;
      expect(count()).toBe(1);
      await owner.start();
      expect(count()).toBe(1);
      rmSync(join(owner.stateFolder, "backup.json"));
      await owner.start();
      await expect.poll(count, { timeout: 20_000 }).toBe(2);
      const record = join(owner.stateFolder, "backup.json");
      const text = readFileSync(record, "utf8");
      writeFileSync(record, text.replace(/"mac": "../, '"mac": "00'));
      await owner.start();
      await expect.poll(count, { timeout: 20_000 }).toBe(3);
      // A custodian that is away does not keep wallets from being used.
      rmSync(record);
      await custodians[0]!.off();
      await owner.start();
      await expect
        .poll(() => lineOf(owner, "NOT BACKED UP")["why"], { timeout: 20_000 })
        .toMatch(/^1 of 3 custodians did not take a share/);
      await custodians[0]!.start();
      await expect.poll(count, { timeout: 20_000 }).toBe(4);
      backupIds.memory = String(lineOf(owner, "backed up: keep the id")["backup_id"]);
    });

    test("is what a person's wallet is made of", async () => {
      const machine = createMachine({ system, scratch, env: { AGENTKEYS_KEYS_URL: owners.memory.url } });
      const policy = JSON.parse(readFileSync(await demandWhatIsThere(machine), "utf8")) as { settings: Json };
      expect(policy.settings["backup"]).toEqual(claimedBackup(plan));
      const { wallet } = await machine.signIn("ada@example.com", plainBrowser());
      ada = { machine, wallet };
    });

    test("goes to no custodian whose evidence somebody on the way relays", async () => {
      const relay = await startRelay(custodians[0]!.url, createTlsIdentity(Date.now()));
      try {
        const [first, ...rest] = plan.custodians;
        const prepared = await prepareBackup(Buffer.alloc(32, 1), {
          plan: {
            ...plan,
            custodians: [{ ...first, url: relay.url }, ...rest.map((each) => ({ ...each, url: relay.url }))],
          },
          ...{ signer: signerOf("memory"), clock: systemClock, random: systemRandom },
          identityKey: generateKeyPairSync("ed25519").privateKey,
          vouch: () => Promise.reject(new Error("nobody is vouched for")),
        });
        const work = prepared.deposit();
        await expect(work).rejects.toThrow("3 of 3 custodians did not take a share");
        await expect(work).rejects.toThrow("(REPORT_DATA): tls_spki_sha256 is");
        expect(new Set(relay.seen.map(({ path }) => path))).toEqual(
          new Set(["/agentkeys.keys.v1.KeyService/GetAttestation"]),
        );
      } finally {
        await relay.close();
      }
    });

    describe.each(ROOT_KEYS)("with the root key in %s, when its machine is lost,", (rootKey) => {
      let replacement: TeeHost;
      const refusedStart = async (recoveryTicket: string): Promise<string> => {
        const error: unknown = await replacement.start({ recoveryTicket }).then(
          () => "it started",
          (reason: unknown) => reason,
        );
        expect(error).toMatchObject({ refusal: "RECOVERY_REFUSED" });
        expect(existsSync(join(replacement.stateFolder, "state.json"))).toBe(false);
        return (error as Error).message;
      };
      beforeAll(async () => {
        await owners[rootKey].destroy();
        replacement = await ownerHost(rootKey);
      });

      test("the new machine says what it is called, and gets nothing without a ticket for it", async () => {
        const empty = join(scratch, "empty");
        writeFileSync(empty, "");
        expect(await refusedStart(empty)).toContain(`which is tpm2 ak_name=${machineOf(replacement).value}`);
        const backupId = backupIds[rootKey];
        const other = { type: "tpm2", name: "ak_name", value: `000b${"ab".repeat(32)}` } as const;
        expect(await refusedStart(await ticketFile(other, backupId))).toContain("0 custodians gave their share");
        expect(lineOf(replacement, "no share from a custodian")["why"]).toContain("(PEER_REFUSED)");
        expect(await refusedStart(await ticketFile(machineOf(replacement), backupId, -1000))).toContain("0 custodians");
        expect(lineOf(replacement, "no share from a custodian")["why"]).toContain("has expired");
        await expect(replacement.start()).rejects.toMatchObject({ refusal: "GENESIS_NOT_ALLOWED" });
        for (const { stateFolder } of custodians) {
          expect(readFileSync(join(stateFolder, "sign-log", "journal"), "latin1")).not.toContain(
            machineOf(replacement).value,
          );
        }
      });

      test("other code gets nothing on the very machine of the ticket", async () => {
        const recoveryTicket = await ticketFile(machineOf(replacement), backupIds[rootKey]);
        await expect(replacement.start({ recoveryTicket }, "release 1, changed")).rejects.toMatchObject({
          refusal: "RECOVERY_REFUSED",
        });
        expect(lineOf(replacement, "no share from a custodian")["why"]).toContain("MEASUREMENT: ");
      });

      test("it comes back there with one custodian away, and each share that was given out is in a sign log", async () => {
        await custodians[1]!.off();
        const recoveryTicket = await ticketFile(machineOf(replacement), backupIds[rootKey]);
        await replacement.start({ recoveryTicket });
        expect(lineOf(replacement, "master secret recovered")["backup_id"]).toBe(backupIds[rootKey]);
        expect(lineOf(replacement, "root key opened")["how"]).toBe("recovered");
        await custodians[1]!.start();
        for (const custodian of [custodians[0]!, custodians[2]!]) {
          await custodian.off();
          const log = readdirSync(join(custodian.stateFolder, "sign-log"), { recursive: true, encoding: "utf8" })
            .filter((name) => name.includes("entries"))
            .map((name) => join(custodian.stateFolder, "sign-log", name))
            .filter((path) => !readdirSyncOrUndefined(path))
            .map((path) => readFileSync(path, "latin1"))
            .join("");
          expect(log).toContain('"op":"give-out-share"');
          expect(log).toContain(`tpm2 ak_name ${machineOf(replacement).value}`);
          await custodian.start();
        }
        // It is its own now: the ticket is of no more use, nor needed.
        await replacement.start({ recoveryTicket: "/nowhere" });
        expect(lineOf(replacement, "root key opened")["how"]).toBe("opened");
        if (rootKey === "tpm") {
          const state = JSON.parse(readFileSync(join(replacement.stateFolder, "state.json"), "utf8")) as Json;
          expect(state["vault"]).toBe("tpm2-pcr-hmac");
        }
      });
    });

    test("leaves people with the wallets that they had, once they accept a log that begins anew", async () => {
      const replacement = hosts.find(
        (host) =>
          host.logged.join("").includes(`"backup_id":"${backupIds.memory}"`) &&
          host.logged.join("").includes("recovered"),
      )!;
      const { machine } = ada;
      machine.env["AGENTKEYS_KEYS_URL"] = replacement.url;
      expect((await machine.agentkeys("token")).stderr).toContain("ak_name is");
      rmSync(machine.env["AGENTKEYS_ATTESTATION_POLICY"]!);
      const policy = JSON.parse(readFileSync(await demandWhatIsThere(machine), "utf8")) as Json;
      expect(policy["signer"]).toBe(signerOf("memory"));
      const refused = await machine.agentkeys("token");
      expect(refused.stderr).toContain("The key service was put back to an earlier state");
      const remembered = /remove (\S+\.json), which/.exec(refused.stderr)?.[1] ?? "";
      rmSync(remembered);
      succeeded(await machine.agentkeys("token"));
      const again = createMachine({ system, scratch, env: { AGENTKEYS_KEYS_URL: replacement.url } });
      await demandWhatIsThere(again);
      expect((await again.signIn("ada@example.com", plainBrowser())).wallet).toBe(ada.wallet);
    });

    test("has its recovery key's public half in what is measured, and nothing of the private one", () => {
      expect(createPublicKey(recoveryPem).asymmetricKeyType).toBe("ec");
      const files = [backupFile, join(scratch, "custody.json")].map((path) => readFileSync(path, "utf8")).join();
      expect(files).not.toContain("PRIVATE KEY");
    });
  },
);

describe.skipIf(!hasSwtpm("three workers that back each other up", process.env))("three workers", () => {
  let system: System;
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-ring-"));
  const hosts: TeeHost[] = [];
  afterAll(async () => {
    await system.close();
    for (const host of hosts) await host.destroy();
    rmSync(folder, { recursive: true, force: true });
  });
  const others = <T>(all: readonly T[], i: number): T[] => all.filter((_, at) => at !== i);
  const backedUp = (host: TeeHost): Json | undefined => {
    const line = host.logged.find((each) => each.includes("backed up: keep the id"));
    return line === undefined ? undefined : (JSON.parse(line) as Json);
  };

  test("that were there before keep each other's shares, and bring back whichever is lost", async () => {
    system = await startSystem({ scratch: folder });
    for (const i of [1, 2, 3]) {
      hosts.push(await createTeeHost({ signer: `ring-${i}.example`, broker: system.broker, scratch: folder }));
    }
    for (const host of hosts) await host.start({ allowGenesis: true });
    const seen = await Promise.all(hosts.map((host) => policyOf(host)));
    const recovery = `recovery key ${keyFingerprint(recoveryKey.publicKey)}`;
    const policies = seen.map((policy, i) => {
      const backup = ["2 of 2", recovery, ...others(seen, i).map(({ url, identity }) => `${url} ${identity}`)];
      return { ...policy, settings: { ...policy.settings, backup, custody: [recovery] } };
    });
    hosts.forEach((host, i) => {
      const custodians = others(policies, i).map(({ url, identity, ...policy }) => ({
        ...{ url, policy: { ...policy, identity_keys: [identity] } },
      }));
      const backup = { version: 1, threshold: 2, recovery_key: recoveryPem, custodians };
      const owners = others(policies, i).map(({ signer, settings, platforms }) => ({
        ...{ signer, recovery_key: recoveryPem, max_evidence_age_s: 60, clock_skew_s: 30, settings, platforms },
      }));
      for (const [name, contents] of Object.entries({ backup, custody: { version: 1, owners } })) {
        const path = join(folder, `${name}-${i}.json`);
        writeFileSync(path, JSON.stringify(contents));
        host.env[`AGENTKEYS_TEE_${name.toUpperCase()}`] = path;
      }
    });
    // The first of them finds nobody who keeps shares yet, and asks again.
    for (const host of hosts) await host.start();
    for (const host of hosts) await expect.poll(() => backedUp(host), { timeout: 20_000 }).toBeDefined();

    const [lost] = hosts.splice(0, 1);
    const backupId = String(backedUp(lost!)!["backup_id"]);
    await lost!.destroy();
    const replacement = await createTeeHost({
      ...{ signer: "ring-1.example", broker: system.broker, scratch: folder },
      env: lost!.env,
    });
    hosts.push(replacement);
    const path = join(folder, "recovery-ticket");
    writeFileSync(path, "");
    await expect(replacement.start({ recoveryTicket: path })).rejects.toMatchObject({ refusal: "RECOVERY_REFUSED" });
    const line = replacement.logged.find((each) => each.includes("this machine, for")) ?? "{}";
    const { machine } = JSON.parse(line) as { machine: TicketMachine };
    const issuedAt = Math.floor(Date.now() / 1000) * 1000;
    const ticket = { backupId, machine, issuedAt, expiresAt: issuedAt + 60_000 };
    writeFileSync(path, await signRecoveryTicket(ticket, recoveryKey.privateKey));
    await replacement.start({ recoveryTicket: path });
    expect((await policyOf(replacement)).identity).toBe(seen[0]!.identity);
  });
});

/** What a worker shows, as a policy, and its identity key. */
async function policyOf(host: TeeHost) {
  const connection = await openConnection(host.url);
  const { answer, asked } = await askForEvidence(connection, { clock: systemClock, random: systemRandom });
  connection.close();
  const policy = JSON.parse(draftPolicy(answer, asked, { roots: [] }).text) as Json & {
    signer: string;
    settings: Json;
    platforms: Json[];
    identity_keys: [string];
  };
  return { ...policy, url: host.url, identity: policy.identity_keys[0] };
}

function readdirSyncOrUndefined(path: string): boolean {
  try {
    readdirSync(path);
    return true;
  } catch {
    return false;
  }
}
