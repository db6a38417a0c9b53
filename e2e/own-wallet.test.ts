import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { afterAll, beforeAll, expect, test } from "vitest";

import { createMachine, type Machine, succeeded } from "./harness/machine.ts";
import { plainBrowser } from "./harness/plain-browser.ts";
import { startSystem, type System } from "./harness/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system.close());

const owner = privateKeyToAccount(generatePrivateKey());
const paste = ["--wallet", owner.address, "--paste", "--json"];

function newMachine(): Machine {
  const machine = createMachine({ system });
  machine.ownWallet = (message) => owner.signMessage({ message });
  return machine;
}
/** What the last line says. */
const last = (stdout: string) => JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Record<string, unknown>;

test("an own wallet, signing far from the machine, is a way back to an account that began with a mailbox, and outlives that", async () => {
  const [first, second] = [newMachine(), newMachine()];
  const before = await first.signIn("ada@example.com", plainBrowser());
  expect(last(succeeded(await first.agentkeys("link", ...paste)))).toMatchObject({
    linked: { type: "evm", value: owner.address.toLowerCase() },
  });
  first.remove();

  const done = last(succeeded(await second.agentkeys("init", ...paste)));
  expect(done).toMatchObject({ omni_account: before.omniAccount, wallet_address: before.wallet });
  expect(before.wallet).not.toBe(owner.address.toLowerCase());
  succeeded(await second.agentkeys("unlink", "ada@example.com", "--yes", "--json"));
  const { identities } = last(succeeded(await second.agentkeys("identities", "--json")));
  expect(identities).toMatchObject([{ type: "evm" }]);
  second.remove();
});

test("the account's own wallet, which the key service holds, signs nobody in", async () => {
  const machine = newMachine();
  const { wallet } = await machine.signIn("bob@example.com", plainBrowser());
  const { code, stderr } = await machine.agentkeys("link", "--wallet", wallet, "--paste");
  expect(code).toBe(1);
  expect(stderr).toContain("which a key service signs for");
  machine.remove();
});
