import type { Kysely, Selectable } from "kysely";

import type { OmniAccount } from "@agentkeys/lib/account";
import type { EvmAddress } from "@agentkeys/lib/ethereum";

import type { WalletLink, WalletStore } from "../wallet/store.ts";
import type { Database, WalletLinkTable } from "./schema/index.ts";

export function createWalletStore(db: Kysely<Database>): WalletStore {
  const verifiedLink = async (address: EvmAddress): Promise<WalletLink | undefined> => {
    const row = await db
      .selectFrom("wallet_link")
      .selectAll()
      .where("address", "=", address)
      .where("verified_at", "is not", null)
      .executeTakeFirst();
    return row && linkOf(row);
  };
  const verifiedOwner = async (address: EvmAddress): Promise<OmniAccount | undefined> =>
    (await verifiedLink(address))?.anchor;
  return {
    verifiedLink,
    verifiedOwner,
    claim: async (anchor, address, now) => {
      const row = await db
        .insertInto("wallet_link")
        .values({ anchor, address, created_at: now, verified_at: null, retired_at: null })
        .onConflict((conflict) =>
          conflict.columns(["anchor", "address"]).doUpdateSet((e) => ({ address: e.ref("excluded.address") })),
        )
        .returningAll()
        .executeTakeFirstOrThrow();
      return linkOf(row);
    },
    forgetClaims: async (anchor, address, kept) => {
      const newest = db
        .selectFrom("wallet_link")
        .select("address")
        .where("anchor", "=", anchor)
        .where("verified_at", "is", null)
        .where("address", "<>", address)
        .orderBy("created_at", "desc")
        .limit(kept);
      await db
        .deleteFrom("wallet_link")
        .where("anchor", "=", anchor)
        .where("verified_at", "is", null)
        .where("address", "<>", address)
        .where("address", "not in", newest)
        .execute();
    },
    verify: async (anchor, address, now) => {
      const owner = await verifiedOwner(address);
      if (owner === anchor) return "verified";
      if (owner !== undefined) return "taken";
      const row = await db
        .updateTable("wallet_link")
        .set({ verified_at: now })
        .where("anchor", "=", anchor)
        .where("address", "=", address)
        .returning("address")
        .executeTakeFirst();
      return row === undefined ? "no-claim" : "verified";
    },
    setRetired: async (address, now) => {
      await db
        .updateTable("wallet_link")
        .set({ retired_at: now ?? null })
        .where("address", "=", address)
        .where("verified_at", "is not", null)
        .execute();
    },
    move: async (from, to) => {
      await db.deleteFrom("wallet_link").where("anchor", "=", from).where("verified_at", "is", null).execute();
      // A claim of the other account to a wallet that this one has proven becomes the link itself.
      const proven = db.selectFrom("wallet_link").select("address").where("anchor", "=", from);
      await db.deleteFrom("wallet_link").where("anchor", "=", to).where("address", "in", proven).execute();
      await db.updateTable("wallet_link").set({ anchor: to }).where("anchor", "=", from).execute();
    },
    listOf: async (anchor) => {
      const rows = await db
        .selectFrom("wallet_link")
        .selectAll()
        .where("anchor", "=", anchor)
        .orderBy((e) => e.case().when("verified_at", "is", null).then(1).else(0).end())
        .orderBy("created_at")
        .execute();
      return rows.map(linkOf);
    },
  };
}

function linkOf(row: Selectable<WalletLinkTable>): WalletLink {
  return {
    anchor: row.anchor as OmniAccount,
    address: row.address as EvmAddress,
    createdAt: row.created_at,
    ...(row.verified_at !== null && { verifiedAt: row.verified_at }),
    ...(row.retired_at !== null && { retiredAt: row.retired_at }),
  };
}
