import type { Kysely, Selectable } from "kysely";

import type { OmniAccount } from "@agentkeys/lib/account";
import type { EvmAddress } from "@agentkeys/lib/ethereum";

import type { Challenge, ChallengeStore } from "../wallet/store.ts";
import type { ChallengeTable, Database } from "./schema/index.ts";

export function createChallengeStore(db: Kysely<Database>): ChallengeStore {
  return {
    insert: async ({ requestId, address, message, startedBy, loginId, createdAt, expiresAt }) => {
      await db
        .insertInto("challenge")
        .values({
          request_id: requestId,
          address,
          message,
          session_id: startedBy?.sessionId ?? null,
          anchor: startedBy?.anchor ?? null,
          dpop_thumbprint: startedBy?.dpopThumbprint ?? null,
          login_id: loginId ?? null,
          created_at: createdAt,
          expires_at: expiresAt,
          spent_at: null,
        })
        .execute();
    },
    find: async (requestId) => {
      const row = await db.selectFrom("challenge").selectAll().where("request_id", "=", requestId).executeTakeFirst();
      return row && challengeOf(row);
    },
    spend: async (requestId, now) => {
      const row = await db
        .updateTable("challenge")
        .set({ spent_at: now })
        .where("request_id", "=", requestId)
        .where("spent_at", "is", null)
        .where("expires_at", ">", now)
        .returningAll()
        .executeTakeFirst();
      return row && challengeOf(row);
    },
    purge: async (time) => {
      const { numDeletedRows } = await db
        .deleteFrom("challenge")
        .where("expires_at", "<", time)
        .executeTakeFirstOrThrow();
      return Number(numDeletedRows);
    },
  };
}

function challengeOf(row: Selectable<ChallengeTable>): Challenge {
  const startedBy =
    row.session_id === null || row.anchor === null
      ? undefined
      : {
          sessionId: row.session_id,
          anchor: row.anchor as OmniAccount,
          ...(row.dpop_thumbprint !== null && { dpopThumbprint: row.dpop_thumbprint }),
        };
  return {
    requestId: row.request_id,
    address: row.address as EvmAddress,
    message: row.message,
    ...(startedBy && { startedBy }),
    ...(row.login_id !== null && { loginId: row.login_id }),
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    ...(row.spent_at !== null && { spentAt: row.spent_at }),
  };
}
