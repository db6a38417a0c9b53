import { type Kysely, sql } from "kysely";

/** Which session one was renewed to, so that a program that did not get the answer can ask again. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const statements = [`ALTER TABLE session ADD COLUMN replaced_by TEXT`];
