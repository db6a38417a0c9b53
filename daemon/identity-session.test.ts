import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { HOUR } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine, refuse } from "./testing/fake-machine.ts";
import { siweMessage } from "./testing/fake-services.ts";

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
});
afterEach(() => machine.remove());

describe("the session", () => {
  beforeEach(async () => {
    await machine.init();
    machine.services.calls.length = 0;
  });
  const tokenOf = (): string => (machine.stateFile()["session"] as { token: string }).token;

  test("is left alone while it is young, and renewed when a quarter of it is over", async () => {
    const first = tokenOf();
    machine.now += 3 * HOUR - 1;
    await machine.agentkeys("whoami");
    expect(machine.methods()).toEqual(["WhoAmI"]);
    machine.now += 1;
    await machine.agentkeys("whoami");
    expect(machine.methods()).toEqual(["WhoAmI", "RenewSession", "WhoAmI"]);
    expect(tokenOf()).not.toBe(first);
  });

  test("that cannot be renewed right now is used on, with a warning", async () => {
    machine.services.handlers = { renewSession: refuse(ErrorReason.STORE_UNAVAILABLE) };
    machine.now += 6 * HOUR;
    const { code, stderr } = await machine.agentkeys("whoami");
    expect(code).toBe(0);
    expect(stderr).toMatch(/^agentkeys: warning: The broker at /);
    machine.now += 6 * HOUR;
    expect(await machine.agentkeys("whoami")).toMatchObject({ code: 4 });
  });

  test("that can no longer be renewed lives to its end, and nobody asks again", async () => {
    machine.services.handlers = { renewSession: refuse(ErrorReason.RENEWAL_ENDED) };
    machine.now += 6 * HOUR;
    await machine.agentkeys("whoami");
    await machine.agentkeys("whoami");
    expect(machine.methods()).toEqual(["RenewSession", "WhoAmI", "WhoAmI"]);
    machine.now += 6 * HOUR;
    const { code, stderr } = await machine.agentkeys("whoami");
    expect(code).toBe(4);
    expect(stderr).toBe("agentkeys: This machine's session has ended.\nRun `agentkeys init` to sign in.\n");
  });

  test("that another process renewed meanwhile is taken from there", async () => {
    const text = readFileSync(join(machine.folder, "state.json"), "utf8");
    let asked = 0;
    machine.services.handlers = {
      startWalletAuth: ({ address }) => {
        if (++asked > 1)
          return { requestId: "r".repeat(22), siweMessage: siweMessage(new URL(machine.services.url).host, address) };
        writeFileSync(join(machine.folder, "state.json"), text.replace(tokenOf(), `${tokenOf()}er`));
        throw new Failure(ErrorReason.SESSION_REVOKED, "revoked");
      },
    };
    expect((await machine.agentkeys("token")).code).toBe(0);
    expect(asked).toBe(2);
  });

  test.each([
    [ErrorReason.SESSION_REVOKED, 4, "This machine's session was revoked."],
    [ErrorReason.SESSION_EXPIRED, 4, "This machine's session has ended."],
    [ErrorReason.SESSION_INVALID, 4, "This machine's session is not accepted."],
    [ErrorReason.WALLET_NOT_LINKED, 4, "no longer linked"],
    [ErrorReason.DPOP_INVALID, 1, "this machine's clock is right"],
    [ErrorReason.AUDIENCE_NOT_ALLOWED, 1, "refused: refused"],
  ])("that is refused (%i) ends a command with %i and what to do", async (reason, code, words) => {
    machine.services.handlers = { mintOidcJwt: refuse(reason), startWalletAuth: refuse(reason) };
    const outcome = await machine.agentkeys("token");
    expect(outcome.code).toBe(code);
    expect(outcome.stderr).toContain(words);
  });
});
