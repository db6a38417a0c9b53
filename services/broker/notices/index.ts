/** Mails that tell an account's other identities what happened, and the one press that stops it. */
export { createOutbox, type Outbox, ringing } from "./outbox.ts";
export { type ReportParts, reportNotice, reviewNotice } from "./report.ts";
export { hashOfToken, sendNotices, type SendParts } from "./send-notices.ts";
export type { Notice, NoticeKind, NoticeStore } from "./store.ts";
export { type News, NOTICE_LIFE_MS, subjectOf, tellOthers } from "./tell-others.ts";
