import type { Kysely, Selectable } from "kysely";

import type { IdentityType, OmniAccount } from "@agentkeys/lib/account";

import type { Identity, IdentityStore } from "../identity/index.ts";
import type { Database, IdentityTable } from "./schema/index.ts";

/** The IdentityLinkStore over SQL. `signIn` is one transaction of its caller's. */
export function createIdentityStore(db: Kysely<Database>): IdentityStore {
  return {
    signIn: async ({ omniAccount, type, value }, now) => {
      const known = await db
        .updateTable("identity")
        .set({ last_used_at: now })
        .where("omni_account", "=", omniAccount)
        .returningAll()
        .executeTakeFirst();
      if (known !== undefined) return identityOf(known);
      await db
        .insertInto("account")
        .values({ anchor: omniAccount, created_at: now })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      const row = await db
        .insertInto("identity")
        .values({ omni_account: omniAccount, type, value, anchor: omniAccount, linked_at: now, last_used_at: now })
        .onConflict((conflict) => conflict.column("omni_account").doUpdateSet({ last_used_at: now }))
        .returningAll()
        .executeTakeFirstOrThrow();
      return identityOf(row);
    },
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
        .execute();
      return rows.map(identityOf);
    },
  };
}

function identityOf(row: Selectable<IdentityTable>): Identity {
  return {
    omniAccount: row.omni_account as OmniAccount,
    type: row.type as IdentityType,
    value: row.value,
    anchor: row.anchor as OmniAccount,
    linkedAt: row.linked_at,
    lastUsedAt: row.last_used_at,
  };
}
