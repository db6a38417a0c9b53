import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import { computeOmniAccount, type OmniAccount } from "@agentkeys/lib/account";
import { type EvmAddress, parseEvmAddress } from "@agentkeys/lib/ethereum";

import { admit, DORMANT_AFTER_MS } from "../identity/index.ts";
import type { BrokerStore } from "../store/index.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { silent } from "../testing/broker.ts";

const rules = { clientId: "agentkeys", dormantAfterMs: DORMANT_AFTER_MS };
let folder: string;
let store: BrokerStore;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "agentkeys-links-"));
  store = await openSqliteStore({ path: join(folder, "broker.sqlite"), clientId: "agentkeys", log: silent });
  for (const { omniAccount, value } of people) {
    await store.transaction((tx) => admit(tx, { omniAccount, type: "email", value }, rules, 1));
  }
});
afterAll(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const people = ["ada", "bob", "eve"].map((name) => {
  const value = `${name}@example.com`;
  return {
    value,
    omniAccount: computeOmniAccount({ clientId: "agentkeys", identityType: "email", identityValue: value }),
  };
});

/** What several people do to a few wallets. A "prove" is a wallet's correct signature under that person's session. */
const deed = fc.record({
  what: fc.constantFrom("claim", "prove"),
  who: fc.constantFrom(...people.map(({ omniAccount }) => omniAccount)),
  wallet: fc.integer({ min: 0, max: 2 }),
});

let world = 0;
const addressOf = (run: number, wallet: number): EvmAddress =>
  parseEvmAddress(`0x${(run * 3 + wallet + 1).toString(16).padStart(40, "0")}`);

test("whatever people claim and prove, in whatever order: the first to claim and prove owns the wallet, for good, and claims take from nobody", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(deed, { maxLength: 25 }), async (deeds) => {
      const run = world++;
      const claims = new Set<string>();
      const owners = new Map<EvmAddress, OmniAccount>();
      for (const [at, { what, who, wallet }] of deeds.entries()) {
        const address = addressOf(run, wallet);
        if (what === "claim") {
          const link = await store.wallets.claim(who, address, at);
          claims.add(`${who} ${address}`);
          expect(link.verifiedAt !== undefined).toBe(owners.get(address) === who);
        } else {
          const owner = owners.get(address);
          const claimed = claims.has(`${who} ${address}`);
          const expected =
            owner === who ? "verified" : owner !== undefined ? "taken" : claimed ? "verified" : "no-claim";
          expect(await store.wallets.verify(who, address, at)).toBe(expected);
          if (expected === "verified") owners.set(address, who);
        }
        for (const each of [0, 1, 2].map((n) => addressOf(run, n))) {
          expect(await store.wallets.verifiedOwner(each)).toBe(owners.get(each));
        }
      }
    }),
    { numRuns: 40 },
  );
});
