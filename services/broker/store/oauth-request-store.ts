import type { Kysely } from "kysely";

import type { OauthRequestStore } from "../login/index.ts";
import type { Database } from "./schema/index.ts";

export function createOauthRequestStore(db: Kysely<Database>): OauthRequestStore {
  return {
    insert: async ({ stateHash, loginId, provider, browserHash, expiresAt }) => {
      await db
        .insertInto("oauth_request")
        .values({
          state_hash: stateHash,
          login_id: loginId,
          provider,
          browser_hash: browserHash,
          expires_at: expiresAt,
          spent_at: null,
        })
        .execute();
    },
    spend: async ({ stateHash, provider, browserHash }, now) => {
      const row = await db
        .updateTable("oauth_request")
        .set({ spent_at: now })
        .where("state_hash", "=", stateHash)
        .where("provider", "=", provider)
        .where("browser_hash", "=", browserHash)
        .where("spent_at", "is", null)
        .where("expires_at", ">", now)
        .returningAll()
        .executeTakeFirst();
      return row && { stateHash, provider, browserHash, loginId: row.login_id, expiresAt: row.expires_at };
    },
    purge: async (time) => {
      const { numDeletedRows } = await db
        .deleteFrom("oauth_request")
        .where("expires_at", "<", time)
        .executeTakeFirstOrThrow();
      return Number(numDeletedRows);
    },
  };
}
