import { generateKeyPairSync, randomBytes } from "node:crypto";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { systemRandom } from "@agentkeys/lib/random";

import { ed25519KeyFor, memoryRootKey } from "../root-key.ts";
import { BackupError } from "./backup-error.ts";
import type { Custodian } from "./custodian.ts";
import { type Backup, prepareBackup } from "./deposit.ts";
import { backupIdOf } from "./manifest.ts";
import type { Voucher } from "./peer-evidence.ts";
import { recoverMasterSecret } from "./recovery.ts";
import { type BackupWorld, type RunningCustodian, SIGNER, startBackupWorld } from "./testing/backup-world.ts";

let world: BackupWorld;
const master = randomBytes(32);
beforeEach(async () => {
  world = await startBackupWorld();
});
afterEach(async () => {
  await world.close();
  for (const { folder } of world.custodians) rmSync(folder, { recursive: true, force: true });
});

const custodian = (i: number): RunningCustodian => world.custodians[i]!;

async function deposit(
  o: { secret?: Uint8Array; vouch?: Voucher; signer?: string } = {},
  plan = world.plan,
): Promise<Backup> {
  const { secret = master, vouch = world.voucher("owner-machine"), signer = SIGNER } = o;
  const key = memoryRootKey(Buffer.from(secret));
  const identityKey = await ed25519KeyFor(key, "identity");
  key.destroy();
  const parts = { plan, signer, identityKey, vouch, clock: world.clock, random: systemRandom };
  const prepared = await prepareBackup(secret, parts);
  return await prepared.deposit().finally(() => prepared.destroy());
}

/** What a new machine gets, in hex, and what it was warned of. */
async function recover(
  ticket: string,
  o: { vouch?: Voucher; signer?: string } = {},
): Promise<{ secret: string; warnings: string[] }> {
  const { vouch = world.voucher("new-machine"), signer = SIGNER } = o;
  const warnings: string[] = [];
  const warn = (why: string): void => void warnings.push(why);
  try {
    const { plan, clock } = world;
    const recovered = await recoverMasterSecret({ plan, signer, ticket, vouch, clock, random: systemRandom, warn });
    return { secret: recovered.masterSecret.toString("hex"), warnings };
  } catch (error) {
    if (!(error instanceof BackupError)) throw error;
    return { secret: `none: ${error.message}`, warnings };
  }
}

const ticketFor = (backup: Backup): Promise<string> => world.ticket({ backupId: backupIdOf(backup.manifest) });

/** A custodian whose RPC does something else. */
function lie(of: RunningCustodian, changes: Partial<Custodian>): void {
  const honest = of.behind;
  of.behind = {
    challenge: (exporter) => honest.challenge(exporter),
    deposit: (given) => honest.deposit(given),
    recover: (request) => honest.recover(request),
    ...changes,
  };
}

describe("a master secret", () => {
  test("comes back on another machine, from as many custodians as it takes", async () => {
    const backup = await deposit();
    expect(backup.receipts).toHaveLength(3);
    const ticket = await ticketFor(backup);
    expect(await recover(ticket)).toEqual({ secret: master.toString("hex"), warnings: [] });
    await custodian(1).off();
    const { secret, warnings } = await recover(ticket);
    expect(secret).toBe(master.toString("hex"));
    expect(warnings).toEqual([expect.stringContaining("it does not answer (ECONNREFUSED)")]);
    expect(custodian(0).given).toMatchObject([
      { backupId: backupIdOf(backup.manifest), index: 0, machine: "soft machine new-machine" },
      { index: 0 },
    ]);
  });

  test("does not come back from one custodian fewer", async () => {
    const ticket = await ticketFor(await deposit());
    await custodian(0).off();
    await custodian(2).off();
    expect((await recover(ticket)).secret).toBe("none: 1 custodians gave their share, and it takes 2");
  });

  test("comes back of two splits as well, and shares of the two are never mixed", async () => {
    const [first, second] = [await deposit(), await deposit()];
    expect(backupIdOf(first.manifest)).not.toBe(backupIdOf(second.manifest));
    for (const backup of [first, second]) {
      expect((await recover(await ticketFor(backup))).secret).toBe(master.toString("hex"));
    }
    // The one custodian answers with its share of the other backup.
    const other = custodian(0).behind;
    const ticket = await ticketFor(second);
    lie(custodian(0), {
      recover: async (request) => ({
        ...(await other.recover(request)),
        manifest: second.manifest,
        share: Buffer.alloc(33, 1),
      }),
    });
    const { secret, warnings } = await recover(ticket);
    expect(secret).toBe(master.toString("hex"));
    expect(warnings).toEqual([expect.stringContaining("it was changed, or the custodian lies")]);
  });

  test("is not used before every custodian has its share: the refusal names who has not", async () => {
    await custodian(1).off();
    await expect(deposit()).rejects.toThrow(
      `1 of 3 custodians did not take a share: the custodian at ${custodian(1).url}: it does not answer`,
    );
  });

  test("is given to a custodian that was away when it is back: the same split, and nothing twice", async () => {
    const identityKey = await ed25519KeyFor(memoryRootKey(Buffer.from(master)), "identity");
    const { plan, clock } = world;
    const vouch = world.voucher("owner-machine");
    const prepared = await prepareBackup(master, {
      plan,
      signer: SIGNER,
      identityKey,
      vouch,
      clock,
      random: systemRandom,
    });
    const honest = custodian(1).behind;
    lie(custodian(1), {
      deposit: () => Promise.reject(new Failure(ErrorReason.STORE_UNAVAILABLE, "the disk is full")),
    });
    await expect(prepared.deposit()).rejects.toThrow("1 of 3 custodians did not take a share");
    custodian(1).behind = honest;
    const backup = await prepared.deposit();
    const deposits = world.custodians.map(({ calls }) => calls.filter((name) => name === "DepositShare").length);
    expect(deposits).toEqual([1, 2, 1]);
    for (const { folder } of world.custodians) expect(readdirSync(folder)).toHaveLength(1);
    expect((await recover(await ticketFor(backup))).secret).toBe(master.toString("hex"));
    prepared.destroy();
    await expect(prepared.deposit()).resolves.toEqual(backup);
  });
});

describe("a custodian that lies", () => {
  const changed: [string, (given: Awaited<ReturnType<Custodian["recover"]>>) => object, string][] = [
    [
      "another share",
      ({ share }) => ({ share: share.map((byte, i) => (i === 0 ? byte ^ 1 : byte)) }),
      "the custodian lies",
    ],
    ["a share of other length", () => ({ share: Buffer.alloc(5) }), "the custodian lies"],
    ["another place", () => ({ index: 2 }), "the custodian lies"],
    [
      "another manifest",
      ({ manifest }) => ({ manifest: { ...manifest, bytes: Buffer.from("{}") } }),
      "its share is of another backup",
    ],
    [
      "a manifest that nobody signed",
      ({ manifest }) => ({ manifest: { ...manifest, signature: Buffer.alloc(64) } }),
      "is not signed by the identity key",
    ],
  ];
  test.each(changed)("with %s is found out, and the others are enough", async (_, change, words) => {
    const ticket = await ticketFor(await deposit());
    const honest = custodian(1).behind;
    lie(custodian(1), {
      recover: async (request) => {
        const given = await honest.recover(request);
        return { ...given, ...change(given) };
      },
    });
    const { secret, warnings } = await recover(ticket);
    expect(secret).toBe(master.toString("hex"));
    expect(warnings).toEqual([expect.stringContaining(words)]);
  });

  test("with another beside it leaves nothing that could be taken for the secret", async () => {
    const ticket = await ticketFor(await deposit());
    for (const liar of [custodian(0), custodian(1)]) {
      const honest = liar.behind;
      lie(liar, { recover: async (request) => ({ ...(await honest.recover(request)), share: randomBytes(33) }) });
    }
    expect((await recover(ticket)).secret).toBe("none: 1 custodians gave their share, and it takes 2");
  });

  test("about having kept a share is no custodian", async () => {
    const honest = custodian(2).behind;
    lie(custodian(2), {
      deposit: async (given) => ({ ...(await honest.deposit(given)), signature: Buffer.alloc(64) }),
    });
    await expect(deposit()).rejects.toThrow("the receipt is not signed by the custodian's identity key");
    lie(custodian(2), {
      deposit: async (given) => {
        const real = await honest.deposit(given);
        const elsewhere = await custodian(0)
          .behind.deposit(given)
          .catch(() => real);
        return { ...elsewhere, bytes: Buffer.from(real.bytes.toString().replace('"index":2', '"index":1')) };
      },
    });
    await expect(deposit()).rejects.toThrow("the receipt is not signed");
  });

  test("in its evidence gets no share to keep, and no ticket to see", async () => {
    const changedPlan = {
      ...world.plan,
      custodians: world.plan.custodians.map((each) => ({
        ...each,
        policy: { ...each.policy, settings: { general_messages: true } },
      })) as unknown as typeof world.plan.custodians,
    };
    await expect(deposit({}, changedPlan)).rejects.toThrow("(MEASUREMENT): settings: general_messages is false");
    for (const { calls } of world.custodians) expect(calls).toEqual(["GetAttestation"]);
  });
});

describe("a kept share", () => {
  const fileOf = (i: number, backup: Backup): string =>
    join(custodian(i).folder, `${backupIdOf(backup.manifest)}.json`);

  test("that was changed on the disk is not given out", async () => {
    const backup = await deposit();
    const path = fileOf(0, backup);
    const text = readFileSync(path, "utf8");
    const { sealed_share: sealed } = JSON.parse(text) as { sealed_share: string };
    const flipped = Buffer.from(sealed, "base64");
    flipped[20]! ^= 1;
    const changes = [
      text.replace(sealed, flipped.toString("base64")),
      text.replace('"index": 0', '"index": 1'),
      text.replace(/"kept_at": \d/, '"kept_at": 9'),
      text.slice(0, -9),
      "",
    ];
    for (const contents of changes) {
      writeFileSync(path, contents);
      const { secret, warnings } = await recover(await ticketFor(backup));
      expect(secret).toBe(master.toString("hex"));
      expect(warnings).toEqual([expect.stringContaining("(SHARE_NOT_FOUND): the share kept of the backup")]);
    }
    writeFileSync(path, text);
    expect((await recover(await ticketFor(backup))).warnings).toEqual([]);
  });

  test("of another custodian, or under another backup's name, opens nowhere", async () => {
    const [backup, other] = [await deposit(), await deposit()];
    writeFileSync(fileOf(0, backup), readFileSync(fileOf(1, backup)));
    writeFileSync(fileOf(2, backup), readFileSync(fileOf(2, other)));
    const { secret, warnings } = await recover(await ticketFor(backup));
    expect(secret).toBe("none: 1 custodians gave their share, and it takes 2");
    expect(warnings).toHaveLength(2);
  });

  test("leaves only when that was recorded", async () => {
    const ticket = await ticketFor(await deposit());
    for (const each of world.custodians) {
      each.recordFails = new Failure(ErrorReason.SIGN_LOG_UNAVAILABLE, "its disk may be full");
    }
    const { secret, warnings } = await recover(ticket);
    expect(secret).toContain("none: 0 custodians");
    expect(warnings).toEqual(
      Array.from({ length: 3 }, () => expect.stringContaining("(SIGN_LOG_UNAVAILABLE)") as string),
    );
  });

  test("is nowhere in clear: not in a file, a line of the log or an error; nor is the master secret", async () => {
    const seen: Buffer[] = [];
    for (const each of world.custodians) {
      const honest = each.behind;
      lie(each, {
        deposit: (given) => {
          seen.push(Buffer.from(given.share));
          return honest.deposit(given);
        },
      });
    }
    const backup = await deposit();
    await recover(await ticketFor(backup));
    const errors = [
      (await recover(await world.ticket({ backupId: "11".repeat(32) }))).warnings.join(),
      (await recover("no ticket")).secret,
      String(await deposit({ vouch: world.voucher("stranger") }).catch((error: unknown) => error)),
    ];
    const files = world.custodians.flatMap(({ folder }) =>
      readdirSync(folder).map((name) => readFileSync(join(folder, name), "latin1")),
    );
    expect(files.length).toBeGreaterThanOrEqual(3);
    const all = [...files, ...world.logged, ...errors].join("\n");
    expect(all).toContain("share given out");
    expect(seen.length).toBeGreaterThanOrEqual(3);
    for (const secret of [master, ...seen, ...seen.map((share) => share.subarray(0, 32))]) {
      for (const encoding of ["hex", "base64", "base64url", "latin1"] as const) {
        // Base64 of a part of something looks different at its end.
        expect(all.includes(secret.toString(encoding).slice(0, 40))).toBe(false);
      }
    }
  });
});

describe("a share is given to nobody but the machine of a ticket:", () => {
  const refusals = async (ticket: Promise<string> | string, o: Parameters<typeof recover>[1] = {}): Promise<string> => {
    const { secret, warnings } = await recover(await ticket, o);
    expect(secret).toMatch(/^none: /);
    expect(world.custodians.flatMap(({ given }) => given)).toEqual([]);
    return [...new Set(warnings.map((each) => each.replace(/^the custodian at \S+: /, "")))].join("\n") || secret;
  };
  let backupId: string;
  beforeEach(async () => {
    backupId = backupIdOf((await deposit()).manifest);
  });

  test("an expired one, one of the future, and one for too long", async () => {
    const { now } = world;
    const at = (issuedAt: number, expiresAt: number): Promise<string> =>
      world.ticket({ backupId, issuedAt, expiresAt });
    expect(await refusals(at(now - 7_200_000, now))).toContain(
      "(RECOVERY_TICKET_REFUSED): the recovery ticket has expired",
    );
    expect(await refusals(at(now + 31_000, now + 90_000))).toContain("the recovery ticket is from the future");
    expect(await refusals(at(now, now + 7 * 86_400_000 + 1000))).toContain("is for more than 7 days");
    expect(await refusals(at(now, now - 1000))).toContain("is for more than 7 days");
  });

  test("one for another machine", async () => {
    const machine = { type: "soft", name: "machine", value: "old-machine" } as const;
    expect(await refusals(world.ticket({ backupId, machine }))).toContain(
      "(PEER_REFUSED): the calling worker is not what this custodian's settings demand: IDENTITY: the soft evidence: machine is new-machine, expected old-machine",
    );
    const vouch = world.voucher("owner-machine");
    expect(await refusals(world.ticket({ backupId }), { vouch })).toContain("machine is owner-machine");
  });

  test("one for a machine of a kind that is not listed, or that names no machine", async () => {
    const tpm = { type: "tpm2", name: "ak_name", value: `000b${"5a".repeat(32)}` } as const;
    expect(await refusals(world.ticket({ backupId, machine: tpm }))).toContain("no tpm2 machine is accepted");
    const maker = { type: "tpm2", name: "ek_root", value: "5a".repeat(32) } as const;
    expect(await refusals(world.ticket({ backupId, machine: maker }))).toContain(
      "the recovery ticket names no machine",
    );
  });

  test("one for another backup, or for one that is not kept", async () => {
    const other = backupIdOf((await deposit({ secret: randomBytes(32) })).manifest);
    const ticket = await world.ticket({ backupId: other });
    // A worker that asks for what the ticket is not for.
    const honest = world.custodians.map((each) => each.behind);
    world.custodians.forEach((each, i) =>
      lie(each, { recover: (request) => honest[i]!.recover({ ...request, backupId }) }),
    );
    expect(await refusals(ticket)).toContain("the recovery ticket is for another backup");
    world.custodians.forEach((each, i) => (each.behind = honest[i]!));
    expect(await refusals(world.ticket({ backupId: "ab".repeat(32) }))).toContain("(SHARE_NOT_FOUND)");
  });

  test("one by another key, one that was changed, and none", async () => {
    const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    expect(await refusals(world.ticket({ backupId }, stranger))).toContain("not signed by the backup's recovery key");
    const [header, , signature] = (await world.ticket({ backupId })).split(".");
    const [, payload] = (await world.ticket({ backupId, expiresAt: world.now + 86_400_000 })).split(".");
    expect(await refusals([header, payload, signature].join("."))).toContain("not signed by");
    expect(await refusals("")).toContain("the recovery ticket is none");
  });

  test("which runs other code, is set otherwise, or is called otherwise", async () => {
    const ticket = await world.ticket({ backupId });
    const code = world.voucher("new-machine", { code: { version: "release 2" } });
    expect(await refusals(ticket, { vouch: code })).toContain("MEASUREMENT: the soft evidence: version is release 2");
    const settings = world.voucher("new-machine", { settings: { general_messages: true } });
    expect(await refusals(ticket, { vouch: settings })).toContain('MEASUREMENT: settings is {"general_messages":true}');
  });

  test("on its own connection: evidence of another one, of another purpose, request, nonce or time is none", async () => {
    const ticket = await world.ticket({ backupId });
    const vouch = world.voucher("new-machine");
    const changed =
      (change: (about: Parameters<Voucher>[0]) => object): Voucher =>
      (about) =>
        vouch({ ...about, ...change(about) });
    const cases: [Voucher, string][] = [
      [changed(() => ({ tlsExporter: randomBytes(32) })), "REPORT_DATA: tls_exporter is"],
      [changed(() => ({ purpose: "deposit" })), "REPORT_DATA: purpose is deposit, expected recover"],
      [changed(() => ({ request: randomBytes(32) })), "REPORT_DATA: request_sha256 is"],
      [changed(() => ({ nonce: randomBytes(32) })), "its evidence answers no challenge of this connection"],
      [
        async (about) => {
          const made = await vouch(about);
          world.now += 60_001;
          return made;
        },
        "one that is older than a minute",
      ],
    ];
    for (const [each, words] of cases) expect(await refusals(ticket, { vouch: each })).toContain(words);
  });

  test("who relays its evidence to a custodian on a connection of their own is refused, and so is who replays it", async () => {
    const ticket = await world.ticket({ backupId });
    const requests: Parameters<Custodian["recover"]>[0][] = [];
    const honest = custodian(0).behind;
    lie(custodian(0), {
      recover: (request) => {
        requests.push(request);
        return Promise.reject(new Failure(ErrorReason.SHARE_NOT_FOUND, "kept by whoever is in between"));
      },
    });
    await recover(ticket);
    const [request] = requests;
    // In between: the very request, on the other connection.
    await expect(honest.recover({ ...request!, tlsExporter: randomBytes(32) })).rejects.toMatchObject({
      reason: ErrorReason.PEER_REFUSED,
    });
    // On the same connection it is the same peer; a minute later not even that.
    world.now += 60_001;
    await expect(honest.recover(request!)).rejects.toMatchObject({ reason: ErrorReason.PEER_REFUSED });
    expect(custodian(0).given).toEqual([]);
  });
});

describe("a share is taken", () => {
  /** What a deposit sends to the first custodian. */
  async function sent(): Promise<Parameters<Custodian["deposit"]>[0]> {
    let seen: Parameters<Custodian["deposit"]>[0] | undefined;
    const honest = custodian(0).behind;
    lie(custodian(0), {
      deposit: (given) => {
        seen = { ...given, share: Buffer.from(given.share) };
        return honest.deposit(given);
      },
    });
    await deposit();
    custodian(0).behind = honest;
    return seen!;
  }

  test("once: the same again gives the same receipt, and repairs what was damaged", async () => {
    const given = await sent();
    world.now += 5_000;
    const again = await custodian(0).behind.deposit(given);
    const { kept_at: keptAt } = JSON.parse(again.bytes.toString()) as { kept_at: number };
    expect(keptAt).toBe((world.now - 5_000) / 1000);
    const [name = ""] = readdirSync(custodian(0).folder);
    const path = join(custodian(0).folder, name);
    const whole = readFileSync(path, "utf8");
    writeFileSync(path, whole.slice(0, 100));
    await custodian(0).behind.deposit(given);
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ index: 0 });
  });

  test("only if it is the one of the manifest, and for this custodian", async () => {
    const given = await sent();
    const wrong: [object, string][] = [
      [{ share: randomBytes(33) }, "the manifest names another share"],
      [{ index: 1 }, "this share is for another custodian"],
      [{ index: 9 }, "this share is for another custodian"],
      [{ manifest: { ...given.manifest, signature: Buffer.alloc(64) } }, "not signed by the identity key"],
      [{ manifest: { ...given.manifest, bytes: Buffer.from("{}") } }, "is not one that this version writes"],
    ];
    for (const [change, words] of wrong) {
      const refused = expect.objectContaining({ reason: ErrorReason.SHARE_REFUSED }) as Error;
      const work = custodian(0).behind.deposit({ ...given, ...change });
      await expect(work).rejects.toEqual(refused);
      await expect(work).rejects.toThrow(words);
    }
  });

  test("only from a machine, code, settings, name and recovery key of the custodian's own settings", async () => {
    const failing = async (o: Parameters<typeof deposit>[0], plan = world.plan): Promise<string> =>
      String(await deposit(o, plan).catch((error: unknown) => error));
    expect(await failing({ vouch: world.voucher("stranger") })).toContain(
      "machine is stranger, expected owner-machine",
    );
    expect(await failing({ vouch: world.voucher("owner-machine", { code: { version: "release 2" } }) })).toContain(
      "MEASUREMENT: the soft evidence",
    );
    expect(await failing({ vouch: world.voucher("owner-machine", { settings: {} }) })).toContain(
      "MEASUREMENT: settings",
    );
    expect(await failing({ signer: "another.example" })).toContain("this worker keeps shares for nobody with that");
    const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey;
    expect(await failing({}, { ...world.plan, recoveryKey: other })).toContain("this worker keeps shares for nobody");
    for (const { folder } of world.custodians) expect(readdirSync(folder)).toEqual([]);
  });
});
