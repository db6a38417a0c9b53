import { createHmac } from "node:crypto";
import { copyFile, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { OmniAccount } from "@agentkeys/lib/account";
import { addressOfSecretKey } from "@agentkeys/lib/ethereum";
import { systemRandom } from "@agentkeys/lib/random";
import {
  type Approval,
  approvalReference,
  extendPcr,
  formatApprovals,
  parseApprovals,
  policyAuthorize,
  policyOfPcrs,
  policyPcr,
  template,
  type Tpm,
} from "@agentkeys/lib/tpm2";
import { hasSwtpm, startTestTpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { deriveSecretKeyWith } from "../../derivation.ts";
import derivationVectors from "../../testing/derivation-vectors.json" with { type: "json" };
import { BootRefused } from "./boot-decision.ts";
import { boot, type Booted, type BootParts } from "./genesis.ts";
import { nvCounter } from "./nv.ts";
import { deriveFor, ed25519KeyFor } from "./root-key.ts";
import { exactPcrs, releaseKey, type SealPolicy } from "./seal-policy.ts";
import { type HardwareRandom, sealedVault } from "./sealed-vault.ts";
import { type Sealer, UnsealRefused } from "./sealer.ts";
import { tpmRandom } from "./tpm-random.ts";
import { tpmHmacVault } from "./tpm-hmac-vault.ts";
import { tpm2Sealer } from "./tpm2-sealer.ts";
import {
  bootPartsOn,
  CODE_PCR,
  measurementOf,
  pcrAfter,
  startTpmMachine,
  testRelease,
  type TpmMachine,
} from "./testing/tpm-machine.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const fingerprint = async ({ key }: Booted): Promise<string> => hex(await deriveFor(key, "identity"));

async function refused(work: Promise<unknown>): Promise<UnsealRefused> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UnsealRefused);
  return error as UnsealRefused;
}

describe.skipIf(!hasSwtpm("services/keys/backends/tee", process.env))("a worker on a machine with a TPM", () => {
  let machine: TpmMachine;
  let tpm: Tpm;
  beforeEach(async () => {
    machine = await startTpmMachine();
  });
  afterEach(() => machine.stop());

  const start = async (
    release: string,
    policy: SealPolicy,
    changes: Partial<BootParts> | ((tpm: Tpm) => Partial<BootParts>) = {},
    tap?: Buffer[],
  ): Promise<Booted> => {
    tpm = await machine.power(release, tap);
    return boot(bootPartsOn(machine, tpm, policy, typeof changes === "function" ? changes(tpm) : changes));
  };
  const genesis = { allowGenesis: true };

  const modes: [string, (tpm: Tpm, policy: SealPolicy) => Partial<BootParts>][] = [
    ["keeps its master secret sealed", () => ({})],
    ["keeps its key in the TPM", (t, policy) => ({ vault: tpmHmacVault({ tpm: t, policy }) })],
  ];
  describe.each(modes)("that %s", (_mode, vaultOf) => {
    test("has the same keys after a restart, and after an upgrade that the release key approved", async () => {
      const release = testRelease();
      const run = (version: string, policy: SealPolicy, more: Partial<BootParts> = {}): Promise<Booted> =>
        start(version, policy, (t) => ({ ...vaultOf(t, policy), ...more }));
      const first = await run("v1", release.policy("v1"), genesis);
      const keys = await fingerprint(first);
      expect(await fingerprint(await run("v1", release.policy("v1")))).toBe(keys);
      expect(await fingerprint(await run("v2", release.policy("v1", "v2")))).toBe(keys);
      const old = await refused(run("v2", release.policy("v1")));
      expect(old.refusal).toBe("MEASUREMENT");
      expect(old.pcrs).toEqual([{ pcr: CODE_PCR, expected: [hex(pcrAfter("v1"))], got: hex(pcrAfter("v2")) }]);
    });

    test("opens for no code that was not approved, and for no foreign release key", async () => {
      const [release, foreign] = [testRelease(), testRelease()];
      const run = (version: string, policy: SealPolicy, more: Partial<BootParts> = {}): Promise<Booted> =>
        start(version, policy, (t) => ({ ...vaultOf(t, policy), ...more }));
      await run("v1", release.policy("v1"), genesis);
      const evil = await refused(run("evil", release.policy("v1", "v2"), genesis));
      expect(evil.message).toContain(
        `PCR ${CODE_PCR} is ${hex(pcrAfter("evil"))}, expected ${hex(pcrAfter("v1"))} or ${hex(pcrAfter("v2"))}`,
      );
      expect((await refused(run("evil", foreign.policy("evil")))).refusal).toBe("APPROVAL");
      const forged = releaseKey(release.key, [foreign.approve("evil")]);
      expect((await refused(run("evil", forged))).refusal).toBe("APPROVAL");
      // The TPM refuses by itself too, without our looking first.
      const lying = { ...forged, ...blindly(release.key, foreign.approve("evil")) };
      expect((await refused(run("evil", lying))).refusal).toBe("APPROVAL");
    });

    test("sealed for exact code finds it closed after any change, and says which PCR", async () => {
      const policy = exactPcrs([7, CODE_PCR]);
      const run = (version: string, more: Partial<BootParts> = {}): Promise<Booted> =>
        start(version, policy, (t) => ({ ...vaultOf(t, policy), ...more }));
      const keys = await fingerprint(await run("v1", genesis));
      const changed = await refused(run("v2"));
      expect(changed.pcrs.map(({ pcr }) => pcr)).toEqual([CODE_PCR]);
      expect(await fingerprint(await run("v1"))).toBe(keys);
      await tpm.use((t) => extendPcr(t, CODE_PCR, measurementOf("more")));
      expect((await refused(boot(bootPartsOn(machine, tpm, policy, vaultOf(tpm, policy))))).refusal).toBe(
        "MEASUREMENT",
      );
    });
  });

  test("makes no master secret for code that could not open it", async () => {
    const release = testRelease();
    const closed = await refused(start("v2", release.policy("v1"), genesis));
    expect(closed.refusal).toBe("MEASUREMENT");
    expect(await readdir(machine.disk)).toEqual([]);
    expect((await start("v1", release.policy("v1"), genesis)).how).toBe("genesis");
  });

  test("with an RSA release key opens as well", async () => {
    const release = testRelease("RSA");
    const keys = await fingerprint(await start("v1", release.policy("v1"), genesis));
    expect(await fingerprint(await start("v2", release.policy("v2")))).toBe(keys);
  });

  test("whose disk was wiped makes no new wallets", async () => {
    const release = testRelease();
    await start("v1", release.policy("v1"), genesis);
    await rm(machine.statePath);
    await expect(start("v1", release.policy("v1"), genesis)).rejects.toThrow("restore the state file from a backup");
    expect(await readdir(machine.disk)).toEqual([]);
  });

  test("whose disk was restored refuses, until an operator accepts exactly that, once", async () => {
    const release = testRelease();
    const policy = release.policy("v1");
    const keys = await fingerprint(await start("v1", policy, genesis));
    const backup = join(machine.disk, "backup");
    await copyFile(machine.statePath, backup);
    const { state } = await start("v1", policy);
    await state.advance({ size: 3n, root: "cd".repeat(32) });
    await copyFile(backup, machine.statePath);
    const refusal = await start("v1", policy).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(BootRefused);
    const value = BigInt(/--accept-rollback=(\d+)/.exec((refusal as Error).message)?.[1] ?? "0");
    const accepted = await start("v1", policy, { acceptRollback: value });
    expect([accepted.how, await fingerprint(accepted)]).toEqual(["rollback-accepted", keys]);
    await copyFile(backup, machine.statePath);
    await expect(start("v1", policy, { acceptRollback: value })).rejects.toThrow("restored from a backup");
  });

  test("whose disk is put into another machine finds it closed", async () => {
    const policy = testRelease().policy("v1");
    await start("v1", policy, genesis);
    const other = await startTestTpm("another");
    try {
      const connection = await other.open();
      await connection.use((t) => extendPcr(t, CODE_PCR, measurementOf("v1")));
      const closed = await refused(boot(bootPartsOn(machine, connection, policy)));
      expect(closed.message).toContain("another TPM");
      await connection.close();
    } finally {
      await other.stop();
    }
  });

  test("opens no blob that was changed, cut or made for another purpose", async () => {
    tpm = await machine.power("v1");
    const sealer = tpm2Sealer({ tpm, policy: testRelease().policy("v1") });
    const [purpose, secret] = [Buffer.from("a purpose"), Buffer.alloc(32, 5)];
    const blob = Buffer.from(await sealer.seal(secret, purpose));
    expect(await sealer.unseal(blob, purpose)).toEqual(secret);
    expect((await refused(sealer.unseal(blob, Buffer.from("another")))).refusal).toBe("BLOB");
    const text = blob.toString();
    const changes = [
      text.slice(0, -1),
      text.replace(/.{8}","counter"/, '00000000","counter"'),
      text.replace('"public":"00', '"public":"01'),
      text.replace('"version":2', '"version":3'),
      text.replace(/"counter":"\d+"/, '"counter":"-1"'),
      text.replace('"least":0', '"least":0.5'),
      "{}",
    ];
    for (const changed of changes) {
      expect((await refused(sealer.unseal(Buffer.from(changed), purpose))).refusal).toBe("BLOB");
    }
    // Terms that are read, and are those of another policy.
    for (const changed of [text.replace('"least":0', '"least":1'), text.replace(/"counter":"/g, '"counter":"1')]) {
      expect(changed).not.toBe(text);
      expect((await refused(sealer.unseal(Buffer.from(changed), purpose))).message).toContain("its terms were changed");
    }
    const before = text.replace('"version":2,', "");
    expect((await refused(sealer.unseal(Buffer.from(before), purpose))).message).toContain(
      "start the release that made it",
    );
  });

  test("says that its TPM is gone, and does nothing else", async () => {
    const policy = testRelease().policy("v1");
    await start("v1", policy, genesis);
    const parts = bootPartsOn(machine, tpm, policy);
    await tpm.close();
    const blob = (await parts.file.read())?.unverified.blob ?? Buffer.alloc(0);
    expect((await refused(parts.vault.open(blob))).refusal).toBe("DEVICE");
  });

  test("leaves no secret in a file, on the way to its TPM, in its environment or its arguments", async () => {
    const policy = testRelease().policy("v1");
    const tap: Buffer[] = [];
    let [master, fromTpm] = [Buffer.alloc(0), Buffer.alloc(0)];
    const watched = (t: Tpm): Partial<BootParts> => {
      const sealer = tpm2Sealer({ tpm: t, policy });
      const seal: Sealer["seal"] = (secret, aad) => {
        master = Buffer.from(secret);
        return sealer.seal(secret, aad);
      };
      const hardwareRandom: HardwareRandom = async (length) => {
        const made = await tpmRandom(t)(length);
        fromTpm = Buffer.from(made);
        return made;
      };
      return { ...genesis, vault: sealedVault({ sealer: { ...sealer, seal }, hardwareRandom, random: systemRandom }) };
    };
    await start("v1", policy, watched, tap);
    expect([master, fromTpm].map(({ length }) => length)).toEqual([32, 32]);
    const pseudorandomKey = createHmac("sha256", Buffer.alloc(32)).update(master).digest();
    const forms = [master, pseudorandomKey, fromTpm].flatMap((secret) => [
      secret,
      Buffer.from(hex(secret)),
      Buffer.from(secret.toString("base64").slice(0, 40)),
    ]);
    const files = await Promise.all((await readdir(machine.disk)).map((name) => readFile(join(machine.disk, name))));
    const places = [...files, Buffer.concat(tap), Buffer.from(JSON.stringify([process.env, process.argv]))];
    expect(places.every((place) => place.length > 100)).toBe(true);
    for (const place of places) expect(forms.some((form) => place.includes(form))).toBe(false);
  });

  test("that keeps its key in the TPM has the wallets of the same master secret in memory", async () => {
    tpm = await machine.power("v1");
    const vault = tpmHmacVault({ tpm, policy: testRelease().policy("v1") });
    for (const vector of derivationVectors) {
      const { key } = await vault.bringIn(Buffer.from(vector.master_secret_hex, "hex"));
      const secretKey = await deriveSecretKeyWith(key.mac, vector.omni_account as OmniAccount);
      expect(addressOfSecretKey(secretKey)).toBe(vector.address);
      key.destroy();
      await expect(key.mac(Buffer.alloc(1))).rejects.toThrow("destroyed");
    }
  });

  test("signs with the same log and identity keys at every boot, which differ", async () => {
    const policy = testRelease().policy("v1");
    const publicOf = async ({ key }: Booted): Promise<unknown[]> => [
      (await ed25519KeyFor(key, "log")).export({ format: "jwk" })["x"],
      (await ed25519KeyFor(key, "identity")).export({ format: "jwk" })["x"],
    ];
    const first = await publicOf(await start("v1", policy, genesis));
    expect(await publicOf(await start("v1", policy))).toEqual(first);
    expect(first[0]).not.toBe(first[1]);
  });

  test("counts in NV, from untouched on", async () => {
    tpm = await machine.power("v1");
    const counter = nvCounter(tpm, 0x01800a20);
    expect(await counter.read()).toBeUndefined();
    const first = await counter.increment();
    expect(await counter.increment()).toBe(first + 1n);
    expect(await counter.read()).toBe(first + 1n);
  });
});

describe("an approvals file", () => {
  const release = testRelease();

  test("of the form that had no security versions says what to do", () => {
    const before = { version: 1, approvals: [{ release: "1", pcrs: {}, signature: "" }] };
    expect(() => parseApprovals(JSON.stringify(before))).toThrow("have the release key approve the releases anew");
  });

  test("comes back as it was written", () => {
    const written = formatApprovals([release.approve("1.0.0"), release.approve("1.1.0-rc.1", 65_535)]);
    expect(formatApprovals(parseApprovals(written))).toBe(written);
  });

  test("with anything else in it is refused", () => {
    const written = formatApprovals([release.approve("1.0.0")]);
    for (const changed of [
      written.replace('"version": 2', '"version": 3'),
      written.replace('"version": 2', '"version": 2, "more": 1'),
      written.replace('"security_version": 0', '"security_version": -1'),
      written.replace('"security_version": 0', '"security_version": "0"'),
      written.replace(/"security_version": 0,\s*/, ""),
      written.replace('"11":', '"24":'),
      written.replace('"11":', '"011":'),
      written.replace(/"11": "../, '"11": "'),
      written.replace(/"pcrs": {[^}]*}/, '"pcrs": {}'),
      written.replace('"1.0.0"', '"1 0"'),
      written.replace(/"signature": "..../, '"signature": "'),
      '{"version":2,"approvals":[]}',
      "",
    ]) {
      expect(() => parseApprovals(changed)).toThrow(/the approvals file|the signature/);
    }
  });
});

/** A policy that does not look at an approval before it gives it to the TPM. */
function blindly(key: Parameters<typeof releaseKey>[0], approval: Approval): Pick<SealPolicy, "satisfy"> {
  return {
    satisfy: async (tpm, session) => {
      await policyPcr(tpm, session, [...approval.pcrs.keys()]);
      await policyAuthorize(tpm, session, {
        key: template.verificationKey(key),
        policy: policyOfPcrs(approval.pcrs),
        reference: approvalReference(approval.securityVersion),
        signature: approval.signature,
      });
    },
  };
}
