import type { Kysely, Selectable } from "kysely";

import type { IdentityType, OmniAccount } from "@agentkeys/lib/account";

import type { Identity, IdentityStore } from "../identity/index.ts";
import type { Database, IdentityTable } from "./schema/index.ts";

/** The IdentityLinkStore over SQL: the primary key keeps an identity out of a second account. */
export function createIdentityStore(db: Kysely<Database>): IdentityStore {
  const update = async (omniAccount: OmniAccount, change: Partial<IdentityTable>): Promise<void> => {
    await db.updateTable("identity").set(change).where("omni_account", "=", omniAccount).execute();
  };
  return {
    find: async (omniAccount) => {
      const row = await db
        .selectFrom("identity")
        .selectAll()
        .where("omni_account", "=", omniAccount)
        .executeTakeFirst();
      return row && identityOf(row);
    },
    listOf: async (anchor) => {
      const rows = await db
        .selectFrom("identity")
        .selectAll()
        .where("anchor", "=", anchor)
        .orderBy((e) => e.case().when("omni_account", "=", anchor).then(0).else(1).end())
        .orderBy("linked_at")
        .orderBy("omni_account")
        .execute();
      return rows.map(identityOf);
    },
    link: async ({ omniAccount, type, value, displayName = "" }, anchor, { linkedAt, lastUsedAt }) => {
      const row = await db
        .insertInto("identity")
        .values({
          omni_account: omniAccount,
          type,
          value,
          display_name: displayName,
          anchor,
          linked_at: linkedAt,
          last_used_at: lastUsedAt,
          suspended_at: null,
        })
        .returningAll()
        .executeTakeFirstOrThrow();
      return identityOf(row);
    },
    touch: (omniAccount, now, displayName) =>
      update(omniAccount, { last_used_at: now, ...(displayName !== undefined && { display_name: displayName }) }),
    suspend: (omniAccount, now) => update(omniAccount, { suspended_at: now }),
    unlink: async (omniAccount) => {
      await db.deleteFrom("identity").where("omni_account", "=", omniAccount).execute();
    },
    move: async (from, to) => {
      await db.updateTable("identity").set({ anchor: to }).where("anchor", "=", from).execute();
    },
  };
}

function identityOf(row: Selectable<IdentityTable>): Identity {
  return {
    omniAccount: row.omni_account as OmniAccount,
    type: row.type as IdentityType,
    value: row.value,
    ...(row.display_name !== "" && { displayName: row.display_name }),
    anchor: row.anchor as OmniAccount,
    linkedAt: row.linked_at,
    lastUsedAt: row.last_used_at,
    ...(row.suspended_at !== null && { suspendedAt: row.suspended_at }),
  };
}
