import { chmodSync, existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";

import { Kysely, type SqliteDatabase, SqliteDialect, sql } from "kysely";
import Libsql from "libsql";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { Logger } from "@agentkeys/lib/log";
import { SettingsError } from "@agentkeys/lib/settings";

import { createAuditStore } from "./audit-store.ts";
import { createChallengeStore } from "./challenge-store.ts";
import { createIdentityStore } from "./identity-store.ts";
import type { BrokerStore, Repositories } from "./index.ts";
import { createLoginStore } from "./login-store.ts";
import { migrate } from "./migrate.ts";
import type { Database } from "./schema.ts";
import { createSessionStore } from "./session-store.ts";
import { createSigningKeyStore } from "./signing-key-store.ts";
import { createWalletStore } from "./wallet-store.ts";

export interface SqliteOptions {
  /** The file; made with mode 0600 where there is none. */
  path: string;
  /** Accounts are named by it, so a store belongs to one client id for ever. */
  clientId: string;
  log: Logger;
  /** Where the file stops growing, in pages of 4 KiB: a disk that is full for tests. Default: the real disk. */
  maxPages?: number;
}

/** Opens the store, bringing its schema up to date. @throws SettingsError when the file is not one that this program can use. */
export async function openSqliteStore({ path, clientId, log, maxPages }: SqliteOptions): Promise<BrokerStore> {
  const db = new Kysely<Database>({ dialect: new SqliteDialect({ database: openFile(path, maxPages) }) });
  try {
    await migrate(db, clientId, log);
  } catch (error) {
    await db.destroy();
    if (error instanceof SettingsError) throw error;
    throw new SettingsError([`AGENTKEYS_BROKER_STORE (${path}) cannot be used: ${wordsOf(error)}`]);
  }

  const guard = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      if (!isSqliteError(error)) throw error;
      log.error({ err: { code: error.code, message: error.message } }, "the store failed");
      throw new Failure(
        ErrorReason.STORE_UNAVAILABLE,
        "the broker's store cannot be used right now; try again shortly",
        {
          retryAfterMs: 2_000,
          cause: error,
        },
      );
    }
  };

  return {
    ...guarded(repositories(db), guard),
    transaction: (work) => guard(() => db.transaction().execute((tx) => work(repositories(tx)))),
    check: () =>
      guard(async () => {
        await sql`INSERT INTO setting (name, value) VALUES ('last_check', '') ON CONFLICT (name) DO UPDATE SET value = value`.execute(
          db,
        );
      }),
    close: () => db.destroy(),
  };
}

function repositories(db: Kysely<Database>): Repositories {
  return {
    identities: createIdentityStore(db),
    logins: createLoginStore(db),
    sessions: createSessionStore(db),
    wallets: createWalletStore(db),
    challenges: createChallengeStore(db),
    signingKeys: createSigningKeyStore(db),
    audit: createAuditStore(db),
  };
}

type Guard = <T>(work: () => Promise<T>) => Promise<T>;

/** Every method of every repository, called through `guard`. */
function guarded(all: Repositories, guard: Guard): Repositories {
  const wrap = <R extends object>(repository: R): R =>
    new Proxy(repository, {
      get: (target, name) => {
        const method: unknown = Reflect.get(target, name);
        if (typeof method !== "function") return method;
        return (...args: unknown[]) => guard(() => Reflect.apply(method, target, args) as Promise<unknown>);
      },
    });
  return Object.fromEntries(
    Object.entries(all).map(([name, repository]) => [name, wrap(repository)]),
  ) as unknown as Repositories;
}

function openFile(path: string, maxPages: number | undefined): SqliteDatabase {
  try {
    const isNew = !existsSync(path);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const database = new Libsql(path, { timeout: 5_000 });
    // Acknowledged means on disk: a session or a spent challenge must not come back after a power cut.
    for (const pragma of ["journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 5000"]) {
      database.exec(`PRAGMA ${pragma}`);
    }
    if (maxPages !== undefined) database.exec(`PRAGMA max_page_count = ${maxPages}`);
    if (isNew) chmodSync(path, 0o600);
    return database;
  } catch (error) {
    throw new SettingsError([`AGENTKEYS_BROKER_STORE (${path}) cannot be opened: ${wordsOf(error)}`]);
  }
}

function isSqliteError(error: unknown): error is Error & { code: string } {
  return (
    error instanceof Error && "code" in error && typeof error.code === "string" && error.code.startsWith("SQLITE_")
  );
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
