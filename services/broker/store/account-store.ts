import type { Kysely } from "kysely";

import type { OmniAccount } from "@agentkeys/lib/account";

import type { AccountStore } from "../identity/index.ts";
import type { Database } from "./schema/index.ts";

export function createAccountStore(db: Kysely<Database>): AccountStore {
  const set = async (anchor: OmniAccount, frozenAt: number | null): Promise<void> => {
    await db.updateTable("account").set({ frozen_at: frozenAt }).where("anchor", "=", anchor).execute();
  };
  return {
    find: async (anchor) => {
      const row = await db.selectFrom("account").selectAll().where("anchor", "=", anchor).executeTakeFirst();
      if (row === undefined) return undefined;
      return {
        anchor,
        ...(row.frozen_at !== null && { frozenAt: row.frozen_at }),
        ...(row.merged_into !== null && { mergedInto: row.merged_into as OmniAccount }),
      };
    },
    insert: async (anchor, now) => {
      await db.insertInto("account").values({ anchor, created_at: now, frozen_at: null, merged_into: null }).execute();
    },
    freeze: (anchor, now) => set(anchor, now),
    unfreeze: (anchor) => set(anchor, null),
    endIn: async (anchor, kept) => {
      await db
        .updateTable("account")
        .set({ merged_into: kept })
        .where((e) => e.or([e("anchor", "=", anchor), e("merged_into", "=", anchor)]))
        .execute();
    },
  };
}
