import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Clock } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";

import { DORMANT_AFTER_MS } from "../identity/index.ts";
import { createLimits, defaultAllowances } from "../limits/index.ts";
import { type Bell, createBell, type LoginParts } from "../login/index.ts";
import type { BrokerStore } from "../store/index.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { createKeySealer, createSessionIssuer, openSigningKeys, rotation, type SigningKeys } from "../token/index.ts";
import { silent } from "./broker.ts";

/** Everything that a sign-in is made of, on a store in a folder of its own, without a server around it. */
export interface TestLogins {
  parts: LoginParts;
  sessionKeys: SigningKeys;
  store: BrokerStore;
  close(): Promise<void>;
}

export async function openTestLogins({
  clock,
  bell = createBell(),
}: {
  clock: Clock;
  bell?: Bell;
}): Promise<TestLogins> {
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-logins-"));
  const store = await openSqliteStore({ path: join(folder, "broker.sqlite"), clientId: "agentkeys", log: silent });
  const keys = await openSigningKeys({
    purpose: "session",
    transaction: store.transaction,
    sealer: createKeySealer(undefined),
    policy: rotation.session,
    clock,
    log: silent,
  });
  const unlimited = Object.keys(defaultAllowances).map((name) => [name, { times: 1e9, seconds: 1 }]);
  const issuer = (): string => "http://127.0.0.1:8091";
  return {
    store,
    sessionKeys: keys,
    parts: {
      ...store,
      limits: createLimits(Object.fromEntries(unlimited) as typeof defaultAllowances),
      sessionIssuer: createSessionIssuer({ issuer, keys, clock, random: systemRandom }),
      bell,
      clientId: "agentkeys",
      dormantAfterMs: DORMANT_AFTER_MS,
      publicUrl: issuer,
      clock,
      random: systemRandom,
    },
    close: async () => {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
