import type { Kysely, Selectable } from "kysely";

import type { OmniAccount } from "@agentkeys/lib/account";

import type { Email, Identity } from "../identity/index.ts";
import type { Notice, NoticeKind, NoticeStore } from "../notices/index.ts";
import type { Database, NoticeTable } from "./schema/index.ts";

export function createNoticeStore(db: Kysely<Database>): NoticeStore {
  const update = async (noticeId: string, change: Partial<NoticeTable>): Promise<void> => {
    await db.updateTable("notice").set(change).where("notice_id", "=", noticeId).execute();
  };
  return {
    insert: async (notice) => {
      await db.insertInto("notice").values(rowOf(notice)).execute();
    },
    listUnsent: async (count) => {
      const rows = await db
        .selectFrom("notice")
        .selectAll()
        .where("sent_at", "is", null)
        .orderBy("occurred_at")
        .limit(count)
        .execute();
      return rows.map(noticeOf);
    },
    setToken: (noticeId, tokenHash) => update(noticeId, { token_hash: tokenHash }),
    markSent: (noticeId, now) => update(noticeId, { sent_at: now }),
    findByToken: async (tokenHash, now) => {
      const row = await db
        .selectFrom("notice")
        .selectAll()
        .where("token_hash", "=", tokenHash)
        .where("spent_at", "is", null)
        .where("expires_at", ">", now)
        .executeTakeFirst();
      return row && noticeOf(row);
    },
    spend: async (noticeId, now) => {
      const row = await db
        .updateTable("notice")
        .set({ spent_at: now })
        .where("notice_id", "=", noticeId)
        .where("spent_at", "is", null)
        .where("expires_at", ">", now)
        .returning("notice_id")
        .executeTakeFirst();
      return row !== undefined;
    },
    purge: async (time) => {
      const { numDeletedRows } = await db.deleteFrom("notice").where("expires_at", "<", time).executeTakeFirstOrThrow();
      return Number(numDeletedRows);
    },
  };
}

function rowOf(notice: Notice): NoticeTable {
  return {
    notice_id: notice.noticeId,
    anchor: notice.anchor,
    recipient: notice.recipient,
    recipient_email: notice.recipientEmail,
    kind: notice.kind,
    subject: notice.subject,
    source_address: notice.sourceAddress,
    actor: notice.reported,
    removed_identity: notice.removed === undefined ? null : JSON.stringify(notice.removed),
    occurred_at: notice.occurredAt,
    expires_at: notice.expiresAt,
    token_hash: null,
    sent_at: null,
    spent_at: null,
  };
}

function noticeOf(row: Selectable<NoticeTable>): Notice {
  return {
    noticeId: row.notice_id,
    anchor: row.anchor as OmniAccount,
    recipient: row.recipient as OmniAccount,
    recipientEmail: row.recipient_email as Email,
    kind: row.kind as NoticeKind,
    subject: row.subject,
    sourceAddress: row.source_address,
    reported: row.actor as OmniAccount,
    ...(row.removed_identity !== null && { removed: JSON.parse(row.removed_identity) as Identity }),
    occurredAt: row.occurred_at,
    expiresAt: row.expires_at,
  };
}
