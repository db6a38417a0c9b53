import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

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
    expect(complete("agentkeys", "attest", "e")).toBe("enroll explain");
    expect(complete("agentkeys", "audit", "sig")).toBe("signatures");
  });

  test("completes commands and their options in zsh", async ({ skip }) => {
    requireShell("zsh", skip);
    const script = join(machine.base, "_agentkeys");
    writeFileSync(script, (await machine.agentkeys("completions", "zsh")).stdout);
    // A terminal of its own, in which somebody types and presses Tab. Ctrl-P says what then stands on the line.
    const driver = `
      zmodload zsh/zpty
      zpty terminal zsh -f -i
      zpty -w terminal 'PS1=; ZDOTDIR=${machine.base}; autoload -Uz compinit && compinit -u -D; source ${script}'
      zpty -w terminal 'say() { print -r -- "<<$BUFFER>>"; BUFFER=; }; zle -N say; bindkey "^P" say'
      for typed in "$@"; do
        zpty -w -n terminal "$typed"$'\\t\\x10'
        zpty -r terminal said $'*<<agentkeys[^\\n]#>>*'
        print -r -- "$said"
      done
      zpty -d terminal`;
    const complete = (...typed: string[]): string[] => {
      const output = execFileSync("zsh", ["-f", "-o", "extendedglob", "-c", driver, "-", ...typed], {
        encoding: "utf8",
        env: { PATH: process.env["PATH"], HOME: machine.base, TERM: "dumb" },
        timeout: 20_000,
      });
      return [...output.matchAll(/<<(agentkeys[^\n]*)>>/g)].map(([, line = ""]) => line.trim());
    };
    expect(complete("agentkeys unf", "agentkeys link --em", "agentkeys nothing --he")).toEqual([
      "agentkeys unfreeze",
      "agentkeys link --email",
      "agentkeys nothing --he",
    ]);
  });

  test("completes commands and their options in fish", async ({ skip }) => {
    requireShell("fish", skip);
    const script = join(machine.base, "agentkeys.fish");
    writeFileSync(script, (await machine.agentkeys("completions", "fish")).stdout);
    const complete = (line: string): string[] =>
      execFileSync("fish", ["--no-config", "-c", `source ${script}; complete -C '${line}'`], {
        encoding: "utf8",
        env: { PATH: process.env["PATH"], HOME: machine.base },
        timeout: 20_000,
      })
        .trim()
        .split("\n");
    expect(complete("agentkeys un")).toEqual([
      "unfreeze\tlet a frozen account work again, once you have looked at it",
      "unlink\ttake an identity off the account",
    ]);
    expect(complete("agentkeys link --e")).toEqual(["--email"]);
    expect(complete("agentkeys nothing --e")).toEqual([""]);
    // What shells treat as special in a description stands in it as it was written.
    expect(complete("agentkeys whoa")).toEqual([expect.stringContaining("\t")]);
    expect(complete("agentkeys init")).toEqual([expect.stringContaining("the account's wallet")]);
  });

  test("knows every command in every shell, and no other shell", async () => {
    const help = (await machine.agentkeys("--help")).stdout;
    const commands = [...help.matchAll(/^ {2}([a-z-]+) /gm)]
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

/** On a developer's machine a shell may be missing; where everything is tested it may not. */
function requireShell(shell: string, skip: (reason: string) => void): void {
  const found = (process.env["PATH"] ?? "").split(":").some((folder) => existsSync(join(folder, shell)));
  if (!found && process.env["CI"] !== "true") skip(`${shell} is not installed: its completions were not tried`);
  expect(found, `${shell} must be installed where CI runs`).toBe(true);
}

test("a command that is nearly right is named", async () => {
  const { code, stderr } = await machine.agentkeys("identites");
  expect(code).toBe(2);
  expect(stderr).toContain("identities");
});
