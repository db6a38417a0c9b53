import type { Kysely } from "kysely";

import type { KeyPurpose, SigningKeyStore } from "../token/index.ts";
import type { Database } from "./schema/index.ts";

export function createSigningKeyStore(db: Kysely<Database>): SigningKeyStore {
  return {
    list: async (purpose) => {
      const rows = await db.selectFrom("signing_key").selectAll().where("purpose", "=", purpose).execute();
      return rows.map((row) => ({
        kid: row.kid,
        purpose: row.purpose as KeyPurpose,
        publicJwk: row.public_jwk,
        privateKey: row.private_key,
        createdAt: row.created_at,
        activeFrom: row.active_from,
      }));
    },
    insert: async (key) => {
      await db
        .insertInto("signing_key")
        .values({
          kid: key.kid,
          purpose: key.purpose,
          public_jwk: key.publicJwk,
          private_key: key.privateKey,
          created_at: key.createdAt,
          active_from: key.activeFrom,
        })
        .execute();
    },
    updatePrivateKey: async (kid, privateKey) => {
      await db.updateTable("signing_key").set({ private_key: privateKey }).where("kid", "=", kid).execute();
    },
    remove: async (kid) => {
      await db.deleteFrom("signing_key").where("kid", "=", kid).execute();
    },
  };
}
