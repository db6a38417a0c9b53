import { type Kysely, sql } from "kysely";

/** Own wallets and passkeys as identities, sign-ins with a purpose, browsers that are signed in, wallets out of use. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

// SQLite cannot change a CHECK: a table whose rules grow is made anew, and its rows are taken along.
const statements = [
  `CREATE TABLE identity_new (
     omni_account TEXT NOT NULL PRIMARY KEY CHECK (length(omni_account) = 64),
     type TEXT NOT NULL CHECK (type IN ('email', 'oauth2', 'evm', 'passkey')),
     value TEXT NOT NULL,
     display_name TEXT NOT NULL DEFAULT '',
     anchor TEXT NOT NULL REFERENCES account (anchor),
     linked_at INTEGER NOT NULL,
     last_used_at INTEGER NOT NULL,
     suspended_at INTEGER,
     UNIQUE (type, value),
     -- A passkey starts no account.
     CHECK (type <> 'passkey' OR omni_account <> anchor)
   ) STRICT`,
  `INSERT INTO identity_new (omni_account, type, value, anchor, linked_at, last_used_at, suspended_at)
     SELECT omni_account, type, value, anchor, linked_at, last_used_at, suspended_at FROM identity`,
  `DROP TABLE identity`,
  `ALTER TABLE identity_new RENAME TO identity`,
  `CREATE INDEX identity_by_anchor ON identity (anchor, linked_at)`,

  // The public half of a passkey (WebAuthn Level 3 section 4, "credential record").
  `CREATE TABLE passkey (
     credential_id TEXT NOT NULL PRIMARY KEY,
     omni_account TEXT NOT NULL UNIQUE REFERENCES identity (omni_account) ON DELETE CASCADE,
     public_key TEXT NOT NULL,
     signature_counter INTEGER NOT NULL,
     transports TEXT NOT NULL,
     backed_up INTEGER NOT NULL,
     created_at INTEGER NOT NULL
   ) STRICT`,

  // What a browser has to sign, by its hash, and for which sign-in or session.
  `CREATE TABLE passkey_challenge (
     challenge_hash TEXT NOT NULL PRIMARY KEY,
     ceremony TEXT NOT NULL CHECK (ceremony IN ('register', 'authenticate')),
     login_id TEXT,
     session_id TEXT,
     expires_at INTEGER NOT NULL,
     spent_at INTEGER,
     CHECK ((login_id IS NULL) <> (session_id IS NULL))
   ) STRICT`,
  `CREATE INDEX passkey_challenge_by_expiry ON passkey_challenge (expires_at)`,

  // A sign-in under way lives for minutes: those by the old schema are begun again.
  `DROP TABLE login`,
  `CREATE TABLE login (
     login_id TEXT NOT NULL PRIMARY KEY,
     method TEXT NOT NULL CHECK (method IN ('email', 'oauth2', 'wallet', 'passkey')),
     purpose TEXT NOT NULL CHECK (purpose IN ('sign-in', 'link', 'step-up')),
     provider TEXT,
     identity_type TEXT,
     identity_value TEXT,
     display_name TEXT NOT NULL DEFAULT '',
     -- JSON of the new passkey that this sign-in made, until it is linked.
     new_passkey TEXT,
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
     CHECK (status NOT IN ('identified', 'confirmed', 'collected') OR identity_value IS NOT NULL),
     CHECK (new_passkey IS NULL OR (method = 'passkey' AND purpose = 'link'))
   ) STRICT`,
  `CREATE INDEX login_by_expiry ON login (expires_at)`,

  `CREATE TABLE session_new (
     session_id TEXT NOT NULL PRIMARY KEY,
     kind TEXT NOT NULL CHECK (kind IN ('identity', 'wallet', 'browser')),
     subject TEXT NOT NULL,
     anchor TEXT NOT NULL REFERENCES account (anchor),
     identity TEXT,
     wallet TEXT,
     parent_id TEXT,
     dpop_thumbprint TEXT,
     -- SHA-256 of the cookie of a browser's session; the other kinds have a token that says who they are.
     cookie_hash TEXT UNIQUE,
     device_name TEXT NOT NULL,
     source_address TEXT NOT NULL,
     signed_in_at INTEGER NOT NULL,
     proven_at INTEGER NOT NULL,
     restricted INTEGER NOT NULL,
     created_at INTEGER NOT NULL,
     expires_at INTEGER NOT NULL,
     revoked_at INTEGER,
     last_used_at INTEGER,
     last_audience TEXT NOT NULL,
     CHECK ((kind IN ('identity', 'browser')) = (identity IS NOT NULL)),
     CHECK ((kind = 'wallet') = (wallet IS NOT NULL)),
     CHECK ((kind = 'browser') = (cookie_hash IS NOT NULL))
   ) STRICT`,
  `INSERT INTO session_new (session_id, kind, subject, anchor, identity, wallet, parent_id, dpop_thumbprint, device_name,
       source_address, signed_in_at, proven_at, restricted, created_at, expires_at, revoked_at, last_used_at, last_audience)
     SELECT session_id, kind, subject, anchor, identity, wallet, parent_id, dpop_thumbprint, device_name,
       source_address, signed_in_at, proven_at, restricted, created_at, expires_at, revoked_at, last_used_at, last_audience FROM session`,
  `DROP TABLE session`,
  `ALTER TABLE session_new RENAME TO session`,
  `CREATE INDEX session_by_anchor ON session (anchor, created_at)`,
  `CREATE INDEX session_by_parent ON session (parent_id)`,
  `CREATE INDEX session_by_expiry ON session (expires_at)`,
  `CREATE INDEX session_revoked ON session (expires_at) WHERE revoked_at IS NOT NULL`,

  `ALTER TABLE wallet_link ADD COLUMN retired_at INTEGER`,
  // The sign-in that an own wallet's signature confirms.
  `ALTER TABLE challenge ADD COLUMN login_id TEXT`,
  `CREATE INDEX audit_event_by_time ON audit_event (occurred_at)`,
];
