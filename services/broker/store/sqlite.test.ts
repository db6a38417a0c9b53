import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import Libsql from "libsql";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { computeOmniAccount } from "@agentkeys/lib/account";
import { parseEvmAddress } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { auditEvent } from "../audit/index.ts";
import { silent } from "../testing/broker.ts";
import { admit, DORMANT_AFTER_MS } from "../identity/index.ts";
import type { BrokerStore } from "./index.ts";
import { openSqliteStore } from "./sqlite.ts";

const rules = { clientId: "agentkeys", dormantAfterMs: DORMANT_AFTER_MS };
let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agentkeys-store-"));
  path = join(folder, "broker.sqlite");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = (clientId = "agentkeys"): Promise<BrokerStore> => openSqliteStore({ path, clientId, log: silent });
const ada = computeOmniAccount({ clientId: "agentkeys", identityType: "email", identityValue: "ada@example.com" });
const name = { omniAccount: ada, type: "email", value: "ada@example.com" } as const;
const caller = { sourceAddress: "192.0.2.1", requestId: "r", userAgent: "" };

describe("a store file", () => {
  test("is made for its owner alone, and found again as it was", async () => {
    const first = await open();
    await first.transaction((tx) => admit(tx, name, rules, 1000));
    await first.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    // All of it stands in the one file, which may be copied now.
    const beside = readdirSync(folder).filter((name) => name.endsWith("-wal"));
    expect(beside.map((name) => statSync(join(folder, name)).size)).toEqual(beside.map(() => 0));
    const second = await open();
    expect(await second.identities.find(ada)).toMatchObject({ anchor: ada, linkedAt: 1000 });
    await second.close();
  });

  test("is readable for its owner alone whatever the umask, as is what stands beside it while it is open", async () => {
    const umask = process.umask(0);
    try {
      path = join(folder, "new", "broker.sqlite");
      const store = await open();
      const modes = [".", "broker.sqlite", "broker.sqlite-wal", "broker.sqlite-shm"].map(
        (name) => statSync(join(folder, "new", name)).mode & 0o777,
      );
      expect(modes).toEqual([0o700, 0o600, 0o600, 0o600]);
      await store.close();
    } finally {
      process.umask(umask);
    }
  });

  test("of another client id is refused, with the setting's name and the remedy", async () => {
    await (await open()).close();
    await expect(open("other")).rejects.toThrow(/AGENTKEYS_CLIENT_ID is other.*made for agentkeys: set it back/);
  });

  test("of a newer schema, of another program, or that is none is refused", async () => {
    await (await open()).close();
    const file = new Libsql(path);
    file.exec("UPDATE setting SET value = '99' WHERE name = 'schema_version'");
    file.close();
    await expect(open()).rejects.toThrow(/AGENTKEYS_BROKER_STORE is of schema version 99/);

    path = join(folder, "other.sqlite");
    const other = new Libsql(path);
    other.exec("CREATE TABLE notes (text TEXT)");
    other.close();
    await expect(open()).rejects.toThrow(/AGENTKEYS_BROKER_STORE is a database of another program/);
    path = join(folder, "text.sqlite");
    writeFileSync(path, "this is no database".repeat(1000));
    await expect(open()).rejects.toThrow(/AGENTKEYS_BROKER_STORE .* cannot be opened: file is not a database/);
    path = folder;
    await expect(open()).rejects.toThrow(/AGENTKEYS_BROKER_STORE .* cannot be opened/);
  });
});

describe("a transaction", () => {
  test("that fails leaves nothing behind", async () => {
    const store = await open();
    const failing = store.transaction(async (tx) => {
      await admit(tx, name, rules, 1);
      await tx.audit.append(auditEvent(1, caller, { action: "login.collected", anchor: ada, subject: "x" }));
      throw new Error("halfway");
    });
    await expect(failing).rejects.toThrow("halfway");
    expect(await store.identities.find(ada)).toBeUndefined();
    expect(await store.audit.page(ada, 10)).toEqual([]);
    await store.close();
  });

  test("on a full disk is STORE_UNAVAILABLE and leaves nothing behind; reading goes on", async () => {
    const store = await openSqliteStore({ path, clientId: "agentkeys", log: silent, maxPages: 200 });
    await store.transaction((tx) => admit(tx, name, rules, 1));
    const flood = async (): Promise<void> => {
      await store.transaction(async (tx) => {
        await tx.wallets.claim(ada, parseEvmAddress("0x" + "1".repeat(40)), 2);
        for (let i = 0; i < 5000; i++) {
          const subject = "x".repeat(1000);
          await tx.audit.append(auditEvent(1, caller, { action: "login.collected", anchor: ada, subject }));
        }
      });
    };
    const error = await flood().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Failure);
    expect((error as Failure).reason).toBe(ErrorReason.STORE_UNAVAILABLE);
    // Not that there was nothing to roll back: SQLite had done that already.
    expect((error as Failure).details.cause).toMatchObject({ code: "SQLITE_FULL" });
    expect(await store.wallets.listOf(ada)).toEqual([]);
    expect(await store.identities.find(ada)).toMatchObject({ anchor: ada });
    await store.close();
  });
});

describe("wallet links", () => {
  test("are unique once verified, whoever asks first", async () => {
    const store = await open();
    const bob = computeOmniAccount({ clientId: "agentkeys", identityType: "email", identityValue: "bob@example.com" });
    const address = parseEvmAddress("0x" + "ab".repeat(20));
    await store.transaction(async (tx) => {
      await admit(tx, name, rules, 1);
      await admit(tx, { ...name, omniAccount: bob, value: "bob@example.com" }, rules, 1);
    });
    await store.wallets.claim(ada, address, 1);
    await store.wallets.claim(bob, address, 1);
    expect(await store.wallets.verify(bob, address, 2)).toBe("verified");
    expect(await store.wallets.verify(ada, address, 3)).toBe("taken");
    expect(await store.wallets.claim(bob, address, 9)).toMatchObject({ createdAt: 1, verifiedAt: 2 });
    expect(await store.wallets.verifiedOwner(address)).toBe(bob);
    await store.close();
  });
});
