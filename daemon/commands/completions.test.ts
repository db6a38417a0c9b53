import { execFileSync } from "node:child_process";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { createFakeMachine, type FakeMachine } from "../testing/fake-machine.ts";

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
});
afterEach(() => machine.remove());

describe("agentkeys completions", () => {
  test("completes commands and their options in bash", async () => {
    const { stdout } = await machine.agentkeys("completions", "bash");
    const complete = (...words: string[]): string =>
      execFileSync(
        "bash",
        [
          "-c",
          `${stdout}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _agentkeys; echo "\${COMPREPLY[*]}"`,
          "-",
          ...words,
        ],
        {
          encoding: "utf8",
        },
      ).trim();
    expect(complete("agentkeys", "un")).toBe("unlink unfreeze");
    expect(complete("agentkeys", "link", "--e")).toBe("--email");
    expect(complete("agentkeys", "nothing", "--")).toBe("");
  });

  test("knows every command in every shell, and no other shell", async () => {
    const help = (await machine.agentkeys("--help")).stdout;
    const commands = [...help.matchAll(/^ {2}([a-z]+) /gm)]
      .map(([, name = ""]) => name)
      .filter((name) => name !== "help");
    expect(commands.length).toBeGreaterThan(10);
    for (const shell of ["bash", "zsh", "fish"]) {
      const { stdout } = await machine.agentkeys("completions", shell);
      for (const command of commands) expect(stdout, shell).toContain(command);
    }
    expect((await machine.agentkeys("completions", "cmd")).code).toBe(2);
  });
});

test("a command that is nearly right is named", async () => {
  const { code, stderr } = await machine.agentkeys("identites");
  expect(code).toBe(2);
  expect(stderr).toContain("identities");
});
