import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import { ErrorReason } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine, refuse } from "../testing/fake-machine.ts";
import { ACCOUNT } from "../testing/fake-services.ts";

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
  await machine.init();
  machine.services.calls.length = 0;
});
afterEach(() => machine.remove());

const work = { omniAccount: "1e".repeat(32), type: IdentityType.EMAIL, value: "work@example.com" };
const ada = { omniAccount: ACCOUNT, type: IdentityType.EMAIL, value: "ada@example.com" };

describe("agentkeys unlink", () => {
  beforeEach(() => {
    machine.services.handlers = { listIdentities: () => ({ identities: [ada, work] }) };
  });

  test.each(["work@example.com", "1e1e1e1e"])("takes off the one that is called %s", async (name) => {
    const { stdout } = await machine.agentkeys("unlink", name, "--yes");
    expect(stdout).toBe("work@example.com no longer signs in to this account.\n");
    expect(machine.services.calls.at(-1)).toMatchObject({
      method: "UnlinkIdentity",
      request: { omniAccount: work.omniAccount },
    });
  });

  test("asks, and where nobody can be asked does nothing", async () => {
    expect((await machine.agentkeys("unlink", "work@example.com")).stderr).toContain("--yes");
    expect((await machine.agentkeys("unlink", "nobody@example.com", "--yes")).stderr).toContain("No identity");
    expect(machine.methods()).not.toContain("UnlinkIdentity");
  });

  test("says why the last one stays", async () => {
    machine.services.handlers = { ...machine.services.handlers, unlinkIdentity: refuse(ErrorReason.LAST_IDENTITY) };
    const { code, stderr } = await machine.agentkeys("unlink", "work@example.com", "--yes");
    expect(code).toBe(1);
    expect(stderr).toContain("agentkeys link");
  });

  test("takes it off when the person at the terminal says yes", async () => {
    machine.keys = "n";
    expect((await machine.agentkeys("unlink", "work@example.com")).stderr).toContain("Nothing was changed");
    expect(machine.methods()).not.toContain("UnlinkIdentity");
    machine.keys = "y";
    expect((await machine.agentkeys("unlink", "work@example.com")).code).toBe(0);
    expect(machine.methods()).toContain("UnlinkIdentity");
  });

  test("takes the beginning of an id that is long enough and of one identity only", async () => {
    const twin = { ...work, omniAccount: "1e".repeat(8) + "00".repeat(24), value: "twin@example.com" };
    machine.services.handlers = { listIdentities: () => ({ identities: [ada, work, twin] }) };
    expect((await machine.agentkeys("unlink", "1e1e1e1e", "--yes")).stderr).toContain("More than one identity");
    expect((await machine.agentkeys("unlink", "1e1e1e1", "--yes")).stderr).toContain("at least 8 characters");
    expect(machine.methods()).not.toContain("UnlinkIdentity");
    expect((await machine.agentkeys("unlink", "1e".repeat(8) + "00", "--yes")).stdout).toContain("twin@example.com");
  });
});
