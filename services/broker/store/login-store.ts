import type { Kysely, Selectable } from "kysely";

import type { Email } from "../identity/index.ts";
import type { DeviceName, Login, LoginStatus, LoginStore } from "../login/index.ts";
import type { Database, LoginTable } from "./schema/index.ts";

export function createLoginStore(db: Kysely<Database>): LoginStore {
  return {
    insert: async (login) => {
      await db.insertInto("login").values(rowOf(login)).execute();
    },
    find: async (loginId) => {
      const row = await db.selectFrom("login").selectAll().where("login_id", "=", loginId).executeTakeFirst();
      return row && loginOf(row);
    },
    findByConfirmHash: async (confirmHash) => {
      const row = await db.selectFrom("login").selectAll().where("confirm_hash", "=", confirmHash).executeTakeFirst();
      return row && loginOf(row);
    },
    advance: async (loginId, from, to, now) => {
      const row = await db
        .updateTable("login")
        .set({ status: to, decided_at: now })
        .where("login_id", "=", loginId)
        .where("status", "=", from)
        .where("expires_at", ">", now)
        .returning("login_id")
        .executeTakeFirst();
      return row !== undefined;
    },
    remove: async (loginId) => {
      await db.deleteFrom("login").where("login_id", "=", loginId).execute();
    },
    purge: async (time) => {
      const { numDeletedRows } = await db.deleteFrom("login").where("expires_at", "<", time).executeTakeFirstOrThrow();
      return Number(numDeletedRows);
    },
  };
}

function rowOf(login: Login): LoginTable {
  return {
    login_id: login.loginId,
    email: login.email,
    secret_hash: login.secretHash,
    confirm_hash: login.confirmHash,
    user_code: login.userCode,
    dpop_thumbprint: login.dpopThumbprint ?? null,
    device_name: login.deviceName,
    source_address: login.sourceAddress,
    user_agent: login.userAgent,
    status: login.status,
    created_at: login.createdAt,
    expires_at: login.expiresAt,
    decided_at: login.decidedAt ?? null,
  };
}

function loginOf(row: Selectable<LoginTable>): Login {
  return {
    loginId: row.login_id,
    email: row.email as Email,
    secretHash: row.secret_hash,
    confirmHash: row.confirm_hash,
    userCode: row.user_code,
    ...(row.dpop_thumbprint !== null && { dpopThumbprint: row.dpop_thumbprint }),
    deviceName: row.device_name as DeviceName,
    sourceAddress: row.source_address,
    userAgent: row.user_agent,
    status: row.status as LoginStatus,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    ...(row.decided_at !== null && { decidedAt: row.decided_at }),
  };
}
