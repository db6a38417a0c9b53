import type { Generated } from "kysely";

/** One line of the history. `event_id` grows with time. */
export interface AuditEventTable {
  event_id: Generated<number>;
  occurred_at: number;
  anchor: string | null;
  action: string;
  outcome: string;
  session_id: string;
  source_address: string;
  request_id: string;
  subject: string;
}
