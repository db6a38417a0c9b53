import type { Kysely, Selectable } from "kysely";

import type { OmniAccount } from "@agentkeys/lib/account";

import type { ChallengeOwner, Passkey, PasskeyChallengeStore, PasskeyStore } from "../passkey/store.ts";
import type { Database, PasskeyTable } from "./schema/index.ts";

export function createPasskeyStore(db: Kysely<Database>): PasskeyStore {
  return {
    find: async (credentialId) => {
      const row = await db
        .selectFrom("passkey")
        .selectAll()
        .where("credential_id", "=", credentialId)
        .executeTakeFirst();
      return row && passkeyOf(row);
    },
    listOf: async (anchor) => {
      const rows = await db
        .selectFrom("passkey")
        .innerJoin("identity", "identity.omni_account", "passkey.omni_account")
        .selectAll("passkey")
        .where("identity.anchor", "=", anchor)
        .orderBy("passkey.created_at")
        .orderBy("passkey.credential_id")
        .execute();
      return rows.map(passkeyOf);
    },
    insert: async ({ credentialId, omniAccount, publicKey, signatureCounter, transports, backedUp, createdAt }) => {
      await db
        .insertInto("passkey")
        .values({
          credential_id: credentialId,
          omni_account: omniAccount,
          public_key: publicKey,
          signature_counter: signatureCounter,
          transports: JSON.stringify(transports),
          backed_up: Number(backedUp),
          created_at: createdAt,
        })
        .execute();
    },
    noteUse: async (credentialId, { signatureCounter, backedUp }) => {
      const row = await db
        .updateTable("passkey")
        .set({ signature_counter: signatureCounter, backed_up: Number(backedUp) })
        .where("credential_id", "=", credentialId)
        // One that does not count says 0 each time; one that does must have gone on.
        .where((e) =>
          signatureCounter === 0 ? e("signature_counter", "=", 0) : e("signature_counter", "<", signatureCounter),
        )
        .returning("credential_id")
        .executeTakeFirst();
      return row !== undefined;
    },
  };
}

export function createPasskeyChallengeStore(db: Kysely<Database>): PasskeyChallengeStore {
  return {
    insert: async ({ challengeHash, ceremony, owner, expiresAt }) => {
      await db
        .insertInto("passkey_challenge")
        .values({
          challenge_hash: challengeHash,
          ceremony,
          ...columnsOf(owner),
          expires_at: expiresAt,
          spent_at: null,
        })
        .execute();
    },
    spend: async ({ challengeHash, ceremony, owner }, now) => {
      const { login_id: loginId, session_id: sessionId } = columnsOf(owner);
      const row = await db
        .updateTable("passkey_challenge")
        .set({ spent_at: now })
        .where("challenge_hash", "=", challengeHash)
        .where("ceremony", "=", ceremony)
        .where("login_id", "is", loginId)
        .where("session_id", "is", sessionId)
        .where("spent_at", "is", null)
        .where("expires_at", ">", now)
        .returning("challenge_hash")
        .executeTakeFirst();
      return row !== undefined;
    },
    purge: async (time) => {
      const { numDeletedRows } = await db
        .deleteFrom("passkey_challenge")
        .where("expires_at", "<", time)
        .executeTakeFirstOrThrow();
      return Number(numDeletedRows);
    },
  };
}

function columnsOf(owner: ChallengeOwner): { login_id: string | null; session_id: string | null } {
  return "loginId" in owner
    ? { login_id: owner.loginId, session_id: null }
    : { login_id: null, session_id: owner.sessionId };
}

function passkeyOf(row: Selectable<PasskeyTable>): Passkey {
  return {
    credentialId: row.credential_id,
    omniAccount: row.omni_account as OmniAccount,
    publicKey: row.public_key,
    signatureCounter: row.signature_counter,
    transports: JSON.parse(row.transports) as string[],
    backedUp: row.backed_up === 1,
    createdAt: row.created_at,
  };
}
