import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { ErrorReason } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine, refuse } from "../testing/fake-machine.ts";
import { frozenAccount } from "../testing/fake-services.ts";

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
});
afterEach(() => machine.remove());

describe("agentkeys init --oauth", () => {
  test("shows the page and the code, and goes on to the wallet by itself", async () => {
    const { code, stdout } = await machine.agentkeys("init", "--oauth", "corp");
    expect(code).toBe(0);
    const lines = stdout.split("\n");
    expect(lines.slice(0, 3)).toEqual([
      "Open this page, on this machine or another one, and sign in with corp:",
      `  ${machine.services.url}/login#${"t".repeat(43)}`,
      "If it shows this very code, press its button, before and after: BCDF-GHJK",
    ]);
    expect(machine.methods()[0]).toBe("StartOauthLogin");
    expect(machine.methods().at(-1)).toBe("VerifyWallet");
  });

  test("tells programs the same", async () => {
    const { stdout } = await machine.agentkeys("init", "--oauth", "corp", "--json");
    expect(JSON.parse(stdout.split("\n")[0] ?? "")).toMatchObject({
      event: "open_page",
      provider: "corp",
      user_code: "BCDF-GHJK",
    });
  });

  test("takes one way to sign in, not two", async () => {
    expect((await machine.init("--oauth", "corp")).code).toBe(2);
    expect(machine.methods()).toEqual([]);
  });

  test("says which providers there are when it is none of them", async () => {
    machine.services.handlers = { startOauthLogin: refuse(ErrorReason.PROVIDER_UNKNOWN, "it has corp, other") };
    expect((await machine.agentkeys("init", "--oauth", "x")).stderr).toContain("it has corp, other");
  });
});

test("signing in to a frozen account keeps the session, says what to do, and asks nobody for a signature", async () => {
  machine.services.handlers = frozenAccount(machine.services.url, machine.now);
  const { code, stdout } = await machine.init();
  expect(code).toBe(0);
  expect(stdout).toContain("agentkeys unfreeze");
  expect(machine.methods()).toEqual(["StartEmailLogin", "AwaitLogin", "WhoAmI"]);
  expect((await machine.agentkeys("identities")).code).toBe(0);
});

test("once the account is unfrozen, init signs in anew instead of going on with the session that may only look", async () => {
  machine.services.handlers = frozenAccount(machine.services.url, machine.now);
  await machine.init();
  machine.services.handlers = {};
  const { stdout } = await machine.agentkeys("unfreeze");
  expect(stdout).toBe("The account is not frozen.\nRun `agentkeys init` to sign this machine in.\n");

  machine.services.calls.length = 0;
  expect((await machine.init()).code).toBe(0);
  expect(machine.methods().slice(0, 3)).toEqual(["WhoAmI", "StartEmailLogin", "AwaitLogin"]);
  expect(machine.methods().at(-1)).toBe("VerifyWallet");
});

test("a frozen account stays one: init says so again, and mails nobody", async () => {
  machine.services.handlers = frozenAccount(machine.services.url, machine.now);
  await machine.init();
  machine.services.calls.length = 0;
  const { stdout } = await machine.init("--json");
  expect(JSON.parse(stdout.trim().split("\n").at(-1) ?? "")).toMatchObject({ event: "done", frozen: true });
  expect(machine.methods()).not.toContain("StartEmailLogin");
});
