import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { ErrorReason } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine, refuse } from "../testing/fake-machine.ts";

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
});
afterEach(() => machine.remove());

describe("agentkeys logout", () => {
  test("ends the session at the broker that it is for, whichever is set now", async () => {
    await machine.init();
    machine.services.calls.length = 0;
    machine.env["AGENTKEYS_BROKER_URL"] = "http://127.0.0.1:1";
    expect(await machine.agentkeys("whoami")).toMatchObject({ code: 78 });
    const { code, stdout } = await machine.agentkeys("logout", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ signed_out: true, revoked: true });
    expect(machine.methods()).toEqual(["RevokeSession"]);
    expect(readdirSync(machine.folder)).toEqual([]);
  });

  test("works when the broker is away, and says what that means", async () => {
    await machine.init();
    machine.services.handlers = { revokeSession: refuse(ErrorReason.STORE_UNAVAILABLE) };
    const { code, stdout, stderr } = await machine.agentkeys("logout");
    expect(code).toBe(0);
    expect(stdout).toBe("Signed out. This machine keeps nothing any more.\n");
    expect(stderr).toContain("its session could not be ended at the broker");
    expect(stderr).toContain("ends by itself, in 12 h");
    expect(readdirSync(machine.folder)).toEqual([]);
  });

  test("removes what cannot be read", async () => {
    await machine.init();
    writeFileSync(join(machine.folder, "state.json"), "{");
    expect((await machine.agentkeys("whoami")).code).toBe(78);
    const { code, stderr } = await machine.agentkeys("logout");
    expect(code).toBe(0);
    expect(stderr).toContain("its session could not be ended at the broker");
    expect((await machine.agentkeys("whoami")).code).toBe(4);
  });

  test("takes a session for ended that the broker no longer accepts", async () => {
    await machine.init();
    machine.services.handlers = { revokeSession: refuse(ErrorReason.SESSION_EXPIRED) };
    expect(await machine.agentkeys("logout")).toMatchObject({ code: 0, stderr: "" });
  });
});
