import { afterAll, beforeAll, expect, test } from "vitest";

import { type Cloud, startLocalCloud } from "./harness/cloud.ts";
import { createMachine, type Machine, succeeded } from "./harness/machine.ts";
import { plainBrowser } from "./harness/plain-browser.ts";
import { startSystem, type System } from "./harness/system.ts";
import { prepareVault, type Vault } from "./harness/vault.ts";

let system: System;
let cloud: Cloud;
let vault: Vault;
beforeAll(async () => {
  [system, cloud] = await Promise.all([startSystem({ masterSecret: "ab".repeat(32) }), startLocalCloud()]);
  vault = await prepareVault(cloud, system.broker.publicUrl);
});
afterAll(() => Promise.all([system.close(), cloud.close()]));

const newMachine = (): Machine =>
  createMachine({ system, env: { AGENTKEYS_AWS_ROLE_ARN: vault.roleArn, AWS_ENDPOINT_URL_STS: cloud.url } });

test("a machine that was lost is no lost wallet: any linked mailbox reaches the same one, and the old machine is shut out", async () => {
  const lost = newMachine();
  const before = await lost.signIn("home@example.com", plainBrowser());
  const linking = lost.agentkeys("link", "--email", "work@example.com");
  const [link = ""] = (await system.nextMail("work@example.com")).links;
  await plainBrowser().confirm(link);
  expect(succeeded(await linking)).toContain("work@example.com signs in to this account now.");

  // The machine is gone; somebody may have its state folder.
  const found = newMachine();
  const after = await found.signIn("work@example.com", plainBrowser());
  expect(after.wallet).toBe(before.wallet);
  expect(after.omniAccount).toBe(before.omniAccount);
  await found.credentials();

  const { sessions } = JSON.parse(succeeded(await found.agentkeys("sessions", "--json"))) as {
    sessions: { kind: string; current: boolean; last_audience: string }[];
  };
  expect(sessions.filter(({ kind }) => kind === "identity")).toHaveLength(2);
  succeeded(await found.agentkeys("revoke", "--all-others"));
  expect((await lost.agentkeys("creds")).code).toBe(4);
  await found.credentials();

  // The mailbox that lost the machine is told that a new one signed in.
  expect((await system.nextNotice("home@example.com")).subject).toBe("AgentKeys: a new machine signed in");
  const { events } = JSON.parse(succeeded(await found.agentkeys("events", "--json"))) as {
    events: { action: string }[];
  };
  const actions = events.map(({ action }) => action);
  for (const action of ["identity.linked", "session.revoked", "login.collected"]) expect(actions).toContain(action);
  for (const machine of [lost, found]) machine.remove();
});
