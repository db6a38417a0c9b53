import { type Kysely, sql } from "kysely";

import type { AuditAction, AuditStore } from "../audit/index.ts";
import type { Database } from "./schema/index.ts";

export function createAuditStore(db: Kysely<Database>): AuditStore {
  return {
    append: async (event) => {
      await db
        .insertInto("audit_event")
        .values({
          occurred_at: event.occurredAt,
          anchor: event.anchor ?? null,
          action: event.action,
          outcome: event.outcome,
          session_id: event.sessionId,
          source_address: event.sourceAddress,
          request_id: event.requestId,
          subject: event.subject,
        })
        .execute();
    },
    page: async (anchor, size, before) => {
      let query = db
        .selectFrom("audit_event")
        .selectAll()
        .where((e) =>
          e.or([
            e("anchor", "=", anchor),
            e("anchor", "in", e.selectFrom("account").select("account.anchor").where("merged_into", "=", anchor)),
          ]),
        );
      if (before !== undefined) query = query.where("event_id", "<", before);
      const rows = await query.orderBy("event_id", "desc").limit(size).execute();
      return rows.map((row) => ({
        eventId: row.event_id,
        occurredAt: row.occurred_at,
        anchor,
        action: row.action as AuditAction,
        outcome: row.outcome,
        sessionId: row.session_id,
        sourceAddress: row.source_address,
        requestId: row.request_id,
        subject: row.subject,
      }));
    },
    purge: async (time, unownedTime, count) => {
      const old = await sql`
        DELETE FROM audit_event WHERE event_id IN (
          SELECT event_id FROM audit_event WHERE occurred_at < ${time} ORDER BY occurred_at LIMIT ${count})`.execute(
        db,
      );
      const unowned = await sql`
        DELETE FROM audit_event WHERE event_id IN (
          SELECT event_id FROM audit_event WHERE anchor IS NULL AND occurred_at < ${unownedTime}
          ORDER BY occurred_at LIMIT ${count})`.execute(db);
      return Number(old.numAffectedRows ?? 0) + Number(unowned.numAffectedRows ?? 0);
    },
  };
}
