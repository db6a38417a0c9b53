import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { ErrorReason } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine, refuse } from "../testing/fake-machine.ts";
import { WALLET } from "../testing/fake-services.ts";

const NEW = "0x" + "cd".repeat(20);

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
  await machine.init();
  machine.services.calls.length = 0;
  machine.services.handlers = {
    deriveAddress: () => ({ address: NEW, keyVersion: 1 }),
    signMessage: () => ({ signature: "0x" + "11".repeat(65), address: NEW, keyVersion: 1 }),
    retireWallet: () => ({}),
  };
});
afterEach(() => machine.remove());

const json = (text: string): Record<string, unknown> =>
  JSON.parse(text.trim().split("\n").at(-1) ?? "") as Record<string, unknown>;

test("a wallet that changed points to the command", async () => {
  const outcome = await machine.agentkeys("init", "--email", "ada@example.com");
  expect(outcome.code).toBe(1);
  expect(outcome.stderr).toContain("agentkeys migrate-wallet");
});

test("links the new wallet after a fresh sign-in, keeps it, and retires the old one", async () => {
  const outcome = await machine.agentkeys("migrate-wallet", "--yes");
  expect(outcome).toMatchObject({ code: 0, stderr: "" });
  expect(outcome.stdout).toContain(`old wallet  ${WALLET}\nnew wallet  ${NEW}`);
  expect(outcome.stdout).toContain("listed as retired");
  expect(outcome.stdout).toContain(`agentkeys:wallet:${NEW}`);
  const methods = machine.methods();
  const order = [
    "DeriveAddress",
    "StartEmailLogin",
    "StepUp",
    "LinkWallet",
    "SignMessage",
    "VerifyWallet",
    "RetireWallet",
  ];
  expect(methods.filter((method) => order.includes(method))).toEqual(order);
  expect(machine.services.calls.find(({ method }) => method === "RetireWallet")?.request).toMatchObject({
    address: WALLET,
  });
  expect(machine.stateFile()).toMatchObject({ wallet_address: NEW });
  expect((await machine.agentkeys("token")).code).toBe(0);
});

test("says so where the broker cannot retire wallets", async () => {
  machine.services.handlers.retireWallet = refuse(ErrorReason.NOT_SERVED);
  const outcome = await machine.agentkeys("migrate-wallet", "--yes", "--json");
  expect(outcome.code).toBe(0);
  expect(json(outcome.stdout)).toMatchObject({
    migrated: true,
    old_wallet: WALLET,
    new_wallet: NEW,
    old_wallet_retired: false,
  });
});

test("changes nothing without consent, without a sign-in, or where the new wallet does not sign", async () => {
  expect((await machine.agentkeys("migrate-wallet")).code).toBe(2);
  machine.services.handlers.stepUp = refuse(ErrorReason.LOGIN_REFUSED);
  expect((await machine.agentkeys("migrate-wallet", "--yes")).code).not.toBe(0);
  expect(machine.methods()).not.toContain("LinkWallet");
  delete machine.services.handlers.stepUp;
  machine.services.handlers.verifyWallet = refuse(ErrorReason.SIGNATURE_INVALID);
  expect((await machine.agentkeys("migrate-wallet", "--yes")).code).toBe(1);
  expect(machine.methods()).not.toContain("RetireWallet");
  expect(machine.stateFile()).toMatchObject({ wallet_address: WALLET });
});

test("has nothing to do where the wallet is the same", async () => {
  machine.services.handlers = {};
  const outcome = await machine.agentkeys("migrate-wallet", "--json");
  expect(json(outcome.stdout)).toEqual({ migrated: false, wallet_address: WALLET });
  expect(machine.methods()).not.toContain("StartEmailLogin");
});

test("tells which lines of which policies name the old address", async () => {
  const [naming, tagged] = [join(machine.base, "naming.json"), join(machine.base, "tagged.json")];
  writeFileSync(
    naming,
    `{\n  "Resource": "arn:aws:s3:::vault/bots/${WALLET.toUpperCase().replace("0X", "0x")}/*"\n}\n`,
  );
  writeFileSync(tagged, '{ "Resource": "arn:aws:s3:::vault/bots/${aws:PrincipalTag/agentkeys_user_wallet}/*" }\n');
  const outcome = await machine.agentkeys("migrate-wallet", "--yes", "--json", "--policies", naming, tagged);
  expect(json(outcome.stdout)).toMatchObject({
    searched: [naming, tagged],
    to_change: [{ file: naming, line: 2, new: `"Resource": "arn:aws:s3:::vault/bots/${NEW}/*"` }],
  });
  const missing = await machine.agentkeys("migrate-wallet", "--yes", "--policies", join(machine.base, "nowhere"));
  expect(missing.code).toBe(2);
});
