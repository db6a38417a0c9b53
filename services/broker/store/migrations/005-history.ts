import { type Kysely, sql } from "kysely";

/** Events that belong to nobody are found by their age without reading everybody's. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const statements = [`CREATE INDEX audit_event_unowned ON audit_event (occurred_at) WHERE anchor IS NULL`];
