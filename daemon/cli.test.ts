import { existsSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { createFakeMachine, type FakeMachine } from "./testing/fake-machine.ts";

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
});
afterEach(() => machine.remove());

describe("the command line", () => {
  test("says what it can do, and its version", async () => {
    const help = await machine.agentkeys("--help");
    expect(help).toMatchObject({ code: 0, stderr: "" });
    for (const word of ["init", "whoami", "logout", "creds", "token", "exec", "daemon", "Exit codes"]) {
      expect(help.stdout).toContain(word);
    }
    expect(await machine.agentkeys("--version")).toEqual({ code: 0, stdout: "from source\n", stderr: "" });
  });

  test.each([
    [[], "A command is needed."],
    [["initt"], "Unknown command 'initt' (Did you mean init?)"],
    [["whoami", "--frob"], "Unknown option '--frob'."],
    [["whoami", "me"], "Too many arguments for 'whoami'. Expected 0 arguments but got 1."],
    [["exec"], "Missing required argument 'command'."],
    [["init", "--email"], "Option '--email <address>' argument missing."],
    [["init"], "An e-mail address is needed, and there is nobody to ask for it."],
  ])("%j is a wrong one: exit code 2", async (argv, message) => {
    const { code, stdout, stderr } = await machine.agentkeys(...argv);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^agentkeys: .*\n.*`agentkeys .*`.*\n$/);
    expect(stderr).toContain(message);
  });

  test("knows no session that was not signed in for", async () => {
    expect((await machine.agentkeys("init", "--mock-token", "x")).code).toBe(2);
  });

  test("tells errors to programs as JSON, on standard error", async () => {
    const { code, stdout, stderr } = await machine.agentkeys("whoami", "--json");
    expect({ code, stdout }).toEqual({ code: 4, stdout: "" });
    expect(JSON.parse(stderr)).toEqual({
      error: {
        reason: "NOT_SIGNED_IN",
        message: "Nobody is signed in on this machine. Run `agentkeys init`.",
      },
    });
    expect(JSON.parse((await machine.agentkeys("whoami", "--json", "--frob")).stderr)).toMatchObject({
      error: { reason: "USAGE" },
    });
    // What stands behind `--` is the command's own.
    expect((await machine.agentkeys("exec", "--", "ls", "--json")).stderr).toMatch(/^agentkeys: /);
  });

  test.each([
    [["creds"], 78, "AGENTKEYS_AWS_ROLE_ARN is not set"],
    [["daemon"], 78, "AGENTKEYS_AWS_ROLE_ARN is not set"],
    [["exec", "true"], 78, "AGENTKEYS_AWS_ROLE_ARN is not set"],
    [["token"], 4, "Nobody is signed in"],
    [["whoami"], 4, "Nobody is signed in"],
  ])("%j on a new machine ends with %i", async (argv, code, message) => {
    const outcome = await machine.agentkeys(...argv);
    expect(outcome).toMatchObject({ code, stdout: "" });
    expect(outcome.stderr).toContain(message);
    expect(existsSync(machine.folder)).toBe(false);
  });

  test("a setting that is wrong stops every command with 78", async () => {
    machine.env["AGENTKEYS_BROKER_URI"] = "x";
    for (const argv of [["init"], ["whoami"], ["creds"], ["token"], ["exec", "true"], ["daemon"], ["logout"]]) {
      const { code, stderr } = await machine.agentkeys(...argv);
      expect(code).toBe(78);
      expect(stderr).toContain(
        "AGENTKEYS_BROKER_URI is not a setting of this program. Did you mean AGENTKEYS_BROKER_URL?",
      );
    }
  });
});
