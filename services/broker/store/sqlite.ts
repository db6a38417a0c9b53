import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname, resolve } from "node:path";

import { Kysely, sql } from "kysely";
import Libsql, { type Database as LibsqlDatabase } from "libsql";

import type { Logger } from "@agentkeys/lib/log";
import { SettingsError } from "@agentkeys/lib/settings";

import { createAccountStore } from "./account-store.ts";
import { createAuditStore } from "./audit-store.ts";
import { createChallengeStore } from "./challenge-store.ts";
import { LibsqlDialect } from "./dialect.ts";
import { createIdentityStore } from "./identity-store.ts";
import type { BrokerStore, Repositories } from "./index.ts";
import { createLoginStore } from "./login-store.ts";
import { migrate } from "./migrate.ts";
import type { Database } from "./schema/index.ts";
import { createNoticeStore } from "./notice-store.ts";
import { createOauthRequestStore } from "./oauth-request-store.ts";
import { createPasskeyChallengeStore, createPasskeyStore } from "./passkey-store.ts";
import { createSessionStore } from "./session-store.ts";
import { createSigningKeyStore } from "./signing-key-store.ts";
import { createStoreGuard, type StoreGuard } from "./store-errors.ts";
import { createWalletStore } from "./wallet-store.ts";

export interface SqliteOptions {
  /** The file; made with mode 0600 where there is none. */
  path: string;
  /** Accounts are named by it, so a store belongs to one client id for ever. */
  clientId: string;
  log: Logger;
  /** Where the file stops growing, in pages of 4 KiB: a disk that is full for tests. Default: the real disk. */
  maxPages?: number | undefined;
  /** Told of each use of the store that failed. */
  onFailure?: (() => void) | undefined;
}

/** Opens the store, bringing its schema up to date. @throws SettingsError when the file is not one that this program can use. */
export async function openSqliteStore({
  path,
  clientId,
  log,
  maxPages,
  onFailure,
}: SqliteOptions): Promise<BrokerStore> {
  const db = new Kysely<Database>({ dialect: new LibsqlDialect(openFile(path, maxPages)) });
  try {
    await migrate(db, clientId, log);
  } catch (error) {
    await db.destroy();
    if (error instanceof SettingsError) throw error;
    throw new SettingsError([`AGENTKEYS_BROKER_STORE (${path}) cannot be used: ${wordsOf(error)}`]);
  }

  log.info({ store: resolve(path) }, "the store is open");
  const guard = createStoreGuard(log, onFailure);
  return {
    ...guarded(repositories(db), guard),
    transaction: (work) => guard(() => db.transaction().execute((tx) => work(repositories(tx)))),
    check: () =>
      guard(async () => {
        await sql`UPDATE setting SET value = value WHERE name = 'schema_version'`.execute(db);
      }),
    close: async () => {
      try {
        // A stopped broker leaves one file, with nothing in a second one that was deleted from the first.
        await sql`PRAGMA wal_checkpoint(TRUNCATE)`.execute(db);
      } finally {
        await db.destroy();
      }
    },
  };
}

function repositories(db: Kysely<Database>): Repositories {
  return {
    accounts: createAccountStore(db),
    identities: createIdentityStore(db),
    logins: createLoginStore(db),
    oauthRequests: createOauthRequestStore(db),
    passkeys: createPasskeyStore(db),
    passkeyChallenges: createPasskeyChallengeStore(db),
    notices: createNoticeStore(db),
    sessions: createSessionStore(db),
    wallets: createWalletStore(db),
    challenges: createChallengeStore(db),
    signingKeys: createSigningKeyStore(db),
    audit: createAuditStore(db),
  };
}

/** Every method of every repository, called through `guard`. */
function guarded(all: Repositories, guard: StoreGuard): Repositories {
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

const pragmas = [
  "busy_timeout = 5000",
  "journal_mode = WAL",
  // Acknowledged means on disk: a session or a spent challenge must not come back after a power cut.
  "synchronous = FULL",
  "foreign_keys = ON",
  // What is deleted or replaced (a key that is encrypted now) is overwritten in the file.
  "secure_delete = ON",
];

function openFile(path: string, maxPages: number | undefined): LibsqlDatabase {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // Made here, since SQLite would make it readable for others; the files that it puts beside it take after this one.
    closeSync(openSync(path, "a", 0o600));
    const database = new Libsql(path);
    for (const pragma of pragmas) database.exec(`PRAGMA ${pragma}`);
    if (maxPages !== undefined) database.exec(`PRAGMA max_page_count = ${maxPages}`);
    return database;
  } catch (error) {
    throw new SettingsError([`AGENTKEYS_BROKER_STORE (${path}) cannot be opened: ${wordsOf(error)}`]);
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
