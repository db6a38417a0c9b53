import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { plainBrowser } from "../harness/plain-browser.ts";
import { type Enrolled, startEnrolled } from "./enrolled.ts";

/** Runs a command at a terminal of its own; from util-linux, which every Debian has. */
const SCRIPT = "/usr/bin/script";

interface Terminal {
  /** What was written so far, without colours and movements. */
  screen(): string;
  shows(text: string | RegExp): Promise<void>;
  type(keys: string): void;
  ended: Promise<number>;
}

describe.runIf(process.platform === "linux" && existsSync(SCRIPT))("agentkeys init at a terminal", () => {
  let ada: Enrolled;
  let child: ChildProcess | undefined;
  beforeAll(async () => {
    ada = await startEnrolled();
  });
  afterAll(async () => {
    child?.kill("SIGKILL");
    await ada.close();
  });

  function open(name: string, ...args: string[]): Terminal {
    const command = ["stty cols 80 rows 24;", process.execPath, ada.file, ...args].join(" ");
    const env = { ...ada.machine.env, HOME: ada.home, PATH: process.env["PATH"], TERM: "xterm" };
    const started = spawn(SCRIPT, ["-qfec", command, "/dev/null"], {
      env: { ...env, AGENTKEYS_STATE_DIR: join(ada.home, name) },
      stdio: ["pipe", "pipe", "inherit"],
    });
    child = started;
    let raw = "";
    started.stdout.setEncoding("utf8").on("data", (chunk: string) => (raw += chunk));
    // eslint-disable-next-line no-control-regex -- a terminal's own language
    const screen = (): string => raw.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "");
    return {
      screen,
      shows: (text) => expect.poll(screen, { timeout: 20_000 }).toMatch(text),
      type: (keys) => void started.stdin.write(keys),
      ended: new Promise((resolve) => started.once("exit", (code) => resolve(code ?? -1))),
    };
  }

  test("asks for the address, shows the code big, and goes the whole way", async () => {
    const terminal = open("asked", "init");
    await terminal.shows("Your e-mail address");
    terminal.type("nonsense\r");
    await terminal.shows("That is no e-mail address.");
    terminal.type("\u0015bob@example.com\r");
    const mail = await ada.system.nextMail("bob@example.com");
    await terminal.shows(/│ +([0-9A-Z] ){4}- ([0-9A-Z] +){4}│/);
    const visit = await plainBrowser().confirm(mail.links[0] ?? "");
    const shown = /([0-9A-Z] ){4}- ([0-9A-Z] ){4}/.exec(terminal.screen())?.[0] ?? "none";
    expect(visit.review).toContain(shown.replaceAll(" ", ""));
    expect(await terminal.ended).toBe(0);
    for (const words of [
      "Signed in as bob@example.com",
      "Wallet 0x",
      "is linked",
      "AWS gave credentials",
      "agentkeys exec",
    ]) {
      expect(terminal.screen()).toContain(words);
    }
  });

  test("stops at Ctrl-C while it asks, and while it waits, as a program that was interrupted", async () => {
    const asking = open("asking", "init");
    await asking.shows("Your e-mail address");
    asking.type("\u0003");
    expect(await asking.ended).toBe(130);

    const waiting = open("waiting", "init", "--email", "carol@example.com");
    await waiting.shows("Waiting for you");
    waiting.type("\u0003");
    expect(await waiting.ended).toBe(130);
    expect(existsSync(join(ada.home, "waiting", "state.json"))).toBe(false);
  });

  test("says what went wrong, below what went well", async () => {
    const terminal = open("refused", "init", "--email", "dave@example.com");
    const mail = await ada.system.nextMail("dave@example.com");
    await plainBrowser().refuse(mail.links[0] ?? "");
    expect(await terminal.ended).toBe(1);
    expect(terminal.screen()).toContain("The sign-in was refused by the person who was asked.");
  });
});
