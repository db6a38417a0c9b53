/**
 * One of several brokers on one store file, as a process of its own: opens the store and both key sets, then answers every
 * challenge that it is told of. Arguments: the file, then request ids. Prints what it got as JSON.
 */
import { pino } from "pino";

import { systemClock } from "@agentkeys/lib/clock";

import { openSqliteStore } from "../store/sqlite.ts";
import { createKeySealer, openSigningKeys, rotation } from "../token/index.ts";

const [path = "", ...requestIds] = process.argv.slice(2);
const log = pino({ level: "silent" });
const store = await openSqliteStore({ path, clientId: "agentkeys", log });
const sealer = createKeySealer(undefined);
const kids: string[] = [];
for (const purpose of ["session", "oidc"] as const) {
  const { transaction } = store;
  const policy = rotation[purpose];
  const keys = await openSigningKeys({ purpose, transaction, sealer, policy, clock: systemClock, log });
  kids.push(keys.current().kid);
}
const spent: string[] = [];
for (const requestId of requestIds) {
  const won = await store.transaction(async (tx) => (await tx.challenges.spend(requestId, Date.now())) !== undefined);
  if (won) spent.push(requestId);
}
await store.close();
process.stdout.write(JSON.stringify({ kids, spent }));
