import { type Kysely, sql } from "kysely";

/** Several identities to an account: providers, freezing, merging, notices, and what a person wants to know of a session. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const statements = [
  `ALTER TABLE account ADD COLUMN frozen_at INTEGER`,
  // A merged account stays as the name of what it was: its anchor must never be given to anybody again.
  `ALTER TABLE account ADD COLUMN merged_into TEXT REFERENCES account (anchor)`,
  `CREATE INDEX account_by_merger ON account (merged_into) WHERE merged_into IS NOT NULL`,

  `ALTER TABLE identity ADD COLUMN suspended_at INTEGER`,

  // A sign-in under way lives for minutes: those by the old schema are begun again.
  `DROP TABLE login`,
  `CREATE TABLE login (
     login_id TEXT NOT NULL PRIMARY KEY,
     method TEXT NOT NULL CHECK (method IN ('email', 'oauth2')),
     provider TEXT,
     identity_type TEXT,
     identity_value TEXT,
     browser_hash TEXT,
     secret_hash TEXT NOT NULL,
     confirm_hash TEXT NOT NULL UNIQUE,
     user_code TEXT NOT NULL,
     dpop_thumbprint TEXT,
     device_name TEXT NOT NULL,
     source_address TEXT NOT NULL,
     user_agent TEXT NOT NULL,
     status TEXT NOT NULL CHECK (status IN ('pending', 'identified', 'confirmed', 'refused', 'collected')),
     created_at INTEGER NOT NULL,
     expires_at INTEGER NOT NULL,
     decided_at INTEGER,
     CHECK ((method = 'oauth2') = (provider IS NOT NULL)),
     CHECK ((identity_type IS NULL) = (identity_value IS NULL)),
     CHECK (status NOT IN ('identified', 'confirmed', 'collected') OR identity_value IS NOT NULL)
   ) STRICT`,
  `CREATE INDEX login_by_expiry ON login (expires_at)`,

  `CREATE TABLE oauth_request (
     state_hash TEXT NOT NULL PRIMARY KEY,
     login_id TEXT NOT NULL,
     provider TEXT NOT NULL,
     browser_hash TEXT NOT NULL,
     expires_at INTEGER NOT NULL,
     spent_at INTEGER
   ) STRICT`,
  `CREATE INDEX oauth_request_by_expiry ON oauth_request (expires_at)`,

  `ALTER TABLE session ADD COLUMN proven_at INTEGER NOT NULL DEFAULT 0`,
  `ALTER TABLE session ADD COLUMN restricted INTEGER NOT NULL DEFAULT 0`,
  `ALTER TABLE session ADD COLUMN last_used_at INTEGER`,
  `ALTER TABLE session ADD COLUMN last_audience TEXT NOT NULL DEFAULT ''`,
  `UPDATE session SET proven_at = signed_in_at`,
  `CREATE INDEX session_revoked ON session (expires_at) WHERE revoked_at IS NOT NULL`,

  // Written in the transaction that it tells of, and sent afterwards: no change goes untold because a process ended.
  `CREATE TABLE notice (
     notice_id TEXT NOT NULL PRIMARY KEY,
     anchor TEXT NOT NULL REFERENCES account (anchor),
     recipient TEXT NOT NULL,
     recipient_email TEXT NOT NULL,
     kind TEXT NOT NULL,
     subject TEXT NOT NULL,
     source_address TEXT NOT NULL,
     actor TEXT NOT NULL,
     removed_identity TEXT,
     occurred_at INTEGER NOT NULL,
     expires_at INTEGER NOT NULL,
     token_hash TEXT UNIQUE,
     sent_at INTEGER,
     spent_at INTEGER
   ) STRICT`,
  `CREATE INDEX notice_unsent ON notice (occurred_at) WHERE sent_at IS NULL`,
  `CREATE INDEX notice_by_expiry ON notice (expires_at)`,
];
