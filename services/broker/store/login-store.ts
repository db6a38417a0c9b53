import type { Kysely, Selectable } from "kysely";

import type { IdentityType } from "@agentkeys/lib/account";

import type { DeviceName, Login, LoginMethod, LoginPurpose, LoginStatus, LoginStore } from "../login/index.ts";
import type { NewPasskey } from "../passkey/store.ts";
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
    identify: async (loginId, { type, value, displayName = "" }, browserHash, now) => {
      const row = await db
        .updateTable("login")
        .set({
          status: "identified",
          identity_type: type,
          identity_value: value,
          display_name: displayName,
          browser_hash: browserHash,
        })
        .where("login_id", "=", loginId)
        .where("status", "=", "pending")
        .where("expires_at", ">", now)
        .returning("login_id")
        .executeTakeFirst();
      return row !== undefined;
    },
    prove: async (loginId, { type, value, displayName = "" }, now, { browserHash, newPasskey } = {}) => {
      const row = await db
        .updateTable("login")
        .set({
          status: "confirmed",
          decided_at: now,
          identity_type: type,
          identity_value: value,
          display_name: displayName,
          browser_hash: browserHash ?? null,
          new_passkey: newPasskey === undefined ? null : JSON.stringify(newPasskey),
        })
        .where("login_id", "=", loginId)
        .where("status", "=", "pending")
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
    method: login.method,
    purpose: login.purpose,
    provider: login.provider ?? null,
    identity_type: login.identity?.type ?? null,
    identity_value: login.identity?.value ?? null,
    display_name: login.identity?.displayName ?? "",
    new_passkey: login.newPasskey === undefined ? null : JSON.stringify(login.newPasskey),
    browser_hash: login.browserHash ?? null,
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
    method: row.method as LoginMethod,
    purpose: row.purpose as LoginPurpose,
    ...(row.provider !== null && { provider: row.provider }),
    ...(row.identity_type !== null &&
      row.identity_value !== null && {
        identity: {
          type: row.identity_type as IdentityType,
          value: row.identity_value,
          ...(row.display_name !== "" && { displayName: row.display_name }),
        },
      }),
    ...(row.new_passkey !== null && { newPasskey: JSON.parse(row.new_passkey) as NewPasskey }),
    ...(row.browser_hash !== null && { browserHash: row.browser_hash }),
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
