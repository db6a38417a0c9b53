import { type Kysely, sql } from "kysely";

import type { Logger } from "@agentkeys/lib/log";
import { SettingsError } from "@agentkeys/lib/settings";

import * as initial from "./migrations/001-initial.ts";
import * as identities from "./migrations/002-identities.ts";
import * as walletsPasskeysBrowsers from "./migrations/003-wallets-passkeys-browsers.ts";
import * as renewals from "./migrations/004-renewals.ts";
import * as history from "./migrations/005-history.ts";
import type { Database } from "./schema/index.ts";

/** In order; a store's version is the number of those it has been through. Never change one that was released: add another. */
const migrations: readonly { name: string; up: (db: Kysely<unknown>) => Promise<void> }[] = [
  { name: "001-initial", up: initial.up },
  { name: "002-identities", up: identities.up },
  { name: "003-wallets-passkeys-browsers", up: walletsPasskeysBrowsers.up },
  { name: "004-renewals", up: renewals.up },
  { name: "005-history", up: history.up },
];

/**
 * Brings a store up to this program's schema in one transaction, and binds a new one to `clientId`.
 * @throws SettingsError when the store is of a newer program, of another program, or of another client id.
 */
export async function migrate(db: Kysely<Database>, clientId: string, log: Logger): Promise<void> {
  await db.transaction().execute(async (tx) => {
    const version = await versionOf(tx);
    if (version > migrations.length) {
      throw new SettingsError([
        `AGENTKEYS_BROKER_STORE is of schema version ${version}, this program knows ${migrations.length}: start the newer program, or name another file`,
      ]);
    }
    for (const { name, up } of migrations.slice(version)) {
      await up(tx as unknown as Kysely<unknown>);
      log.info({ migration: name }, "the store's schema was brought up to date");
    }
    await write(tx, "schema_version", String(migrations.length));
    const owner = await read(tx, "client_id");
    if (owner !== undefined && owner !== clientId) {
      throw new SettingsError([
        `AGENTKEYS_CLIENT_ID is ${clientId}, but the accounts in the store were made for ${owner}: set it back, or name another AGENTKEYS_BROKER_STORE`,
      ]);
    }
    await write(tx, "client_id", clientId);
  });
}

async function versionOf(db: Kysely<Database>): Promise<number> {
  const tables = await sql<{
    name: string;
  }>`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`.execute(db);
  if (tables.rows.length === 0) return 0;
  const version = tables.rows.some(({ name }) => name === "setting") ? await read(db, "schema_version") : undefined;
  if (version === undefined) {
    throw new SettingsError(["AGENTKEYS_BROKER_STORE is a database of another program: name another file"]);
  }
  return Number(version);
}

async function read(db: Kysely<Database>, name: string): Promise<string | undefined> {
  const row = await db.selectFrom("setting").select("value").where("name", "=", name).executeTakeFirst();
  return row?.value;
}

async function write(db: Kysely<Database>, name: string, value: string): Promise<void> {
  await db
    .insertInto("setting")
    .values({ name, value })
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ value }))
    .execute();
}
