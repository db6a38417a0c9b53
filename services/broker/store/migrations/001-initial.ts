import { type Kysely, sql } from "kysely";

/** The first schema. Rules that must hold stand here as constraints, not in checks before a write. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const statements = [
  `CREATE TABLE setting (
     name TEXT NOT NULL PRIMARY KEY,
     value TEXT NOT NULL
   ) STRICT`,

  `CREATE TABLE account (
     anchor TEXT NOT NULL PRIMARY KEY CHECK (length(anchor) = 64),
     created_at INTEGER NOT NULL
   ) STRICT`,

  `CREATE TABLE identity (
     omni_account TEXT NOT NULL PRIMARY KEY CHECK (length(omni_account) = 64),
     type TEXT NOT NULL CHECK (type IN ('email', 'oauth2', 'evm')),
     value TEXT NOT NULL,
     anchor TEXT NOT NULL REFERENCES account (anchor),
     linked_at INTEGER NOT NULL,
     last_used_at INTEGER NOT NULL,
     UNIQUE (type, value)
   ) STRICT`,
  `CREATE INDEX identity_by_anchor ON identity (anchor, linked_at)`,

  `CREATE TABLE login (
     login_id TEXT NOT NULL PRIMARY KEY,
     email TEXT NOT NULL,
     secret_hash TEXT NOT NULL,
     confirm_hash TEXT NOT NULL UNIQUE,
     user_code TEXT NOT NULL,
     dpop_thumbprint TEXT,
     device_name TEXT NOT NULL,
     source_address TEXT NOT NULL,
     user_agent TEXT NOT NULL,
     status TEXT NOT NULL CHECK (status IN ('pending', 'confirmed', 'refused', 'collected')),
     created_at INTEGER NOT NULL,
     expires_at INTEGER NOT NULL,
     decided_at INTEGER
   ) STRICT`,
  `CREATE INDEX login_by_expiry ON login (expires_at)`,

  `CREATE TABLE session (
     session_id TEXT NOT NULL PRIMARY KEY,
     kind TEXT NOT NULL CHECK (kind IN ('identity', 'wallet')),
     subject TEXT NOT NULL,
     anchor TEXT NOT NULL REFERENCES account (anchor),
     identity TEXT,
     wallet TEXT,
     parent_id TEXT,
     dpop_thumbprint TEXT,
     device_name TEXT NOT NULL,
     source_address TEXT NOT NULL,
     signed_in_at INTEGER NOT NULL,
     created_at INTEGER NOT NULL,
     expires_at INTEGER NOT NULL,
     revoked_at INTEGER,
     CHECK ((kind = 'identity') = (identity IS NOT NULL)),
     CHECK ((kind = 'wallet') = (wallet IS NOT NULL))
   ) STRICT`,
  `CREATE INDEX session_by_anchor ON session (anchor, created_at)`,
  `CREATE INDEX session_by_parent ON session (parent_id)`,
  `CREATE INDEX session_by_expiry ON session (expires_at)`,

  `CREATE TABLE wallet_link (
     anchor TEXT NOT NULL REFERENCES account (anchor),
     address TEXT NOT NULL CHECK (length(address) = 42),
     created_at INTEGER NOT NULL,
     verified_at INTEGER,
     PRIMARY KEY (anchor, address)
   ) STRICT`,
  // Anyone may claim; only one account can have proven.
  `CREATE UNIQUE INDEX wallet_link_verified ON wallet_link (address) WHERE verified_at IS NOT NULL`,

  `CREATE TABLE challenge (
     request_id TEXT NOT NULL PRIMARY KEY,
     address TEXT NOT NULL,
     message TEXT NOT NULL,
     session_id TEXT,
     anchor TEXT,
     dpop_thumbprint TEXT,
     created_at INTEGER NOT NULL,
     expires_at INTEGER NOT NULL,
     spent_at INTEGER
   ) STRICT`,
  `CREATE INDEX challenge_by_expiry ON challenge (expires_at)`,
  `CREATE INDEX challenge_by_session ON challenge (session_id) WHERE session_id IS NOT NULL`,

  `CREATE TABLE signing_key (
     kid TEXT NOT NULL PRIMARY KEY,
     purpose TEXT NOT NULL CHECK (purpose IN ('session', 'oidc')),
     public_jwk TEXT NOT NULL,
     private_key TEXT NOT NULL,
     created_at INTEGER NOT NULL,
     active_from INTEGER NOT NULL
   ) STRICT`,

  `CREATE TABLE audit_event (
     event_id INTEGER PRIMARY KEY AUTOINCREMENT,
     occurred_at INTEGER NOT NULL,
     anchor TEXT,
     action TEXT NOT NULL,
     outcome TEXT NOT NULL,
     session_id TEXT NOT NULL,
     source_address TEXT NOT NULL,
     request_id TEXT NOT NULL,
     subject TEXT NOT NULL
   ) STRICT`,
  `CREATE INDEX audit_event_by_anchor ON audit_event (anchor, event_id)`,
];
