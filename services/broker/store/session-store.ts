import { type Kysely, type Selectable, sql } from "kysely";

import type { OmniAccount } from "@agentkeys/lib/account";
import type { EvmAddress } from "@agentkeys/lib/ethereum";

import type { SessionRecord, SessionStore } from "../token/index.ts";
import type { Database, SessionTable } from "./schema/index.ts";

export function createSessionStore(db: Kysely<Database>): SessionStore {
  const insert = async (session: SessionRecord): Promise<void> => {
    await db.insertInto("session").values(rowOf(session)).execute();
  };
  return {
    insert,
    find: async (sessionId) => {
      const row = await db.selectFrom("session").selectAll().where("session_id", "=", sessionId).executeTakeFirst();
      return row && sessionOf(row);
    },
    latest: async (sessionId) => {
      const row = await db
        .withRecursive("line", (line) =>
          line
            .selectFrom("session")
            .select(["session_id", "replaced_by"])
            .where("session_id", "=", sessionId)
            .union(
              line
                .selectFrom("session")
                .innerJoin("line", "line.replaced_by", "session.session_id")
                .select(["session.session_id", "session.replaced_by"]),
            ),
        )
        .selectFrom("session")
        .selectAll()
        .where((e) =>
          e("session_id", "in", e.selectFrom("line").select("line.session_id").where("line.replaced_by", "is", null)),
        )
        .executeTakeFirst();
      return row && sessionOf(row);
    },
    findByCookie: async (cookieHash) => {
      const row = await db.selectFrom("session").selectAll().where("cookie_hash", "=", cookieHash).executeTakeFirst();
      return row && sessionOf(row);
    },
    listLive: async (anchor, now) => {
      const rows = await db
        .selectFrom("session")
        .selectAll()
        .where("anchor", "=", anchor)
        .where("revoked_at", "is", null)
        .where("expires_at", ">", now)
        .orderBy("created_at", "desc")
        .orderBy("session_id")
        .execute();
      return rows.map(sessionOf);
    },
    revoke: async (sessionId, now) => {
      const { rows } = await sql<{ session_id: string }>`
        WITH RECURSIVE family (session_id) AS (
          SELECT session_id FROM session WHERE session_id = ${sessionId} AND revoked_at IS NULL AND expires_at > ${now}
          UNION
          SELECT child.session_id FROM session child JOIN family ON child.parent_id = family.session_id
        )
        UPDATE session SET revoked_at = ${now}
        WHERE session_id IN (SELECT session_id FROM family) AND revoked_at IS NULL
        RETURNING session_id`.execute(db);
      return rows.map((row) => row.session_id);
    },
    revokeAll: async (anchor, now, identity) => {
      const first = identity === undefined ? sql`1` : sql`identity = ${identity}`;
      const { rows } = await sql<{ session_id: string }>`
        WITH RECURSIVE family (session_id) AS (
          SELECT session_id FROM session WHERE anchor = ${anchor} AND ${first}
          UNION
          SELECT child.session_id FROM session child JOIN family ON child.parent_id = family.session_id
        )
        UPDATE session SET revoked_at = ${now}
        WHERE session_id IN (SELECT session_id FROM family) AND revoked_at IS NULL AND expires_at > ${now}
        RETURNING session_id`.execute(db);
      return rows.map((row) => row.session_id);
    },
    revokeWallet: async (wallet, now) => {
      const rows = await db
        .updateTable("session")
        .set({ revoked_at: now })
        .where("wallet", "=", wallet)
        .where("revoked_at", "is", null)
        .where("expires_at", ">", now)
        .returning("session_id")
        .execute();
      return rows.map((row) => row.session_id);
    },
    prove: async (sessionId, now) => {
      await db.updateTable("session").set({ proven_at: now }).where("session_id", "=", sessionId).execute();
    },
    touch: async (sessionId, now) => {
      await db
        .updateTable("session")
        .set({ last_used_at: now })
        .where("session_id", "=", sessionId)
        .where((e) => e.or([e("last_used_at", "is", null), e("last_used_at", "<", now - 60_000)]))
        .execute();
    },
    extend: async (sessionId, expiresAt, now) => {
      await db
        .updateTable("session")
        .set({ last_used_at: now, expires_at: expiresAt })
        .where("session_id", "=", sessionId)
        .where("revoked_at", "is", null)
        .where("expires_at", ">", now)
        .execute();
    },
    changeCookie: async (sessionId, cookieHash, now) => {
      const row = await db
        .updateTable("session")
        .set({ cookie_hash: cookieHash })
        .where("session_id", "=", sessionId)
        .where("kind", "=", "browser")
        .where("revoked_at", "is", null)
        .where("expires_at", ">", now)
        .returning("session_id")
        .executeTakeFirst();
      return row !== undefined;
    },
    noteAudience: async (sessionId, audience) => {
      await sql`
        UPDATE session SET last_audience = ${audience}
        WHERE last_audience <> ${audience}
          AND session_id IN (${sessionId}, (SELECT parent_id FROM session WHERE session_id = ${sessionId}))`.execute(
        db,
      );
    },
    replace: async (sessionId, successor, now) => {
      const ended = await db
        .updateTable("session")
        .set({ revoked_at: now, replaced_by: successor.sessionId })
        .where("session_id", "=", sessionId)
        .where("revoked_at", "is", null)
        .where("expires_at", ">", now)
        .returning("session_id")
        .executeTakeFirst();
      if (ended === undefined) return false;
      await insert(successor);
      await db
        .updateTable("session")
        .set({ parent_id: successor.sessionId })
        .where("parent_id", "=", sessionId)
        .execute();
      // A challenge that is being signed while the session is renewed can still be answered.
      await db
        .updateTable("challenge")
        .set({ session_id: successor.sessionId })
        .where("session_id", "=", sessionId)
        .execute();
      return true;
    },
    listRevoked: async (now) => {
      const rows = await db
        .selectFrom("session")
        .select("session_id")
        .where("revoked_at", "is not", null)
        // A verifier's clock may be a little behind ours, and it grants some leeway.
        .where("expires_at", ">", now - 60_000)
        .execute();
      return rows.map((row) => row.session_id);
    },
    purge: async (time) => {
      const { numDeletedRows } = await db
        .deleteFrom("session")
        .where("expires_at", "<", time)
        .executeTakeFirstOrThrow();
      return Number(numDeletedRows);
    },
  };
}

function rowOf(session: SessionRecord): SessionTable {
  return {
    session_id: session.sessionId,
    kind: session.kind,
    subject: session.subject,
    anchor: session.anchor,
    identity: session.identity ?? null,
    wallet: session.wallet ?? null,
    parent_id: session.parentId ?? null,
    dpop_thumbprint: session.dpopThumbprint ?? null,
    cookie_hash: session.cookieHash ?? null,
    device_name: session.deviceName,
    source_address: session.sourceAddress,
    signed_in_at: session.signedInAt,
    created_at: session.createdAt,
    expires_at: session.expiresAt,
    revoked_at: session.revokedAt ?? null,
    replaced_by: session.replacedBy ?? null,
    proven_at: session.provenAt,
    restricted: session.restricted ? 1 : 0,
    last_used_at: session.lastUsedAt ?? null,
    last_audience: session.lastAudience,
  };
}

function sessionOf(row: Selectable<SessionTable>): SessionRecord {
  return {
    sessionId: row.session_id,
    kind: row.kind as SessionRecord["kind"],
    subject: row.subject as OmniAccount,
    anchor: row.anchor as OmniAccount,
    ...(row.identity !== null && { identity: row.identity as OmniAccount }),
    ...(row.wallet !== null && { wallet: row.wallet as EvmAddress }),
    ...(row.parent_id !== null && { parentId: row.parent_id }),
    ...(row.dpop_thumbprint !== null && { dpopThumbprint: row.dpop_thumbprint }),
    ...(row.cookie_hash !== null && { cookieHash: row.cookie_hash }),
    deviceName: row.device_name,
    sourceAddress: row.source_address,
    signedInAt: row.signed_in_at,
    provenAt: row.proven_at,
    restricted: row.restricted === 1,
    ...(row.last_used_at !== null && { lastUsedAt: row.last_used_at }),
    lastAudience: row.last_audience,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    ...(row.revoked_at !== null && { revokedAt: row.revoked_at }),
    ...(row.replaced_by !== null && { replacedBy: row.replaced_by }),
  };
}
