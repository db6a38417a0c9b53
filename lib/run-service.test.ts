import { describe, expect, test } from "vitest";

import { createLog, type Logger } from "./log.ts";
import { noFlags, runService, type Service } from "./run-service.ts";
import { serviceHelp } from "./settings/help.ts";
import { SettingsError } from "./settings/index.ts";
import { integer, listenAddress, oneOf, optional, required, text } from "./settings/kinds.ts";

class Refused extends Error {}

/** Runs a service whose start does `start`; tells what the process printed, logged and ended with. */
async function run(argv: readonly string[], start: () => Promise<{ close(): Promise<void> }>) {
  const seen = { out: "", err: "", logged: "", status: undefined as number | undefined, signals: [] as string[] };
  const log: Logger = createLog("test", { destination: { write: (line) => void (seen.logged += line) } });
  const service: Service = {
    help: "the help\n",
    cannotStart: "it cannot start",
    open: (given) => {
      noFlags(given);
      return { log, start };
    },
    refusal: (error) =>
      error instanceof Refused
        ? { status: 42, fields: { why: error.message }, message: "it does not serve" }
        : undefined,
  };
  await runService(service, argv, {
    stdout: { write: (written) => (seen.out += written) },
    stderr: { write: (written) => (seen.err += written) },
    on: (signal) => seen.signals.push(signal),
    exit: (status) => void (seen.status ??= status),
  });
  return seen;
}

const running = () => Promise.resolve({ close: () => Promise.resolve() });
const failing = (error: Error) => () => Promise.reject(error);

describe("a service as a process", () => {
  test("runs until a signal", async () => {
    expect(await run([], running)).toEqual({
      out: "",
      err: "",
      logged: "",
      status: undefined,
      signals: ["SIGTERM", "SIGINT"],
    });
  });

  test.each([["--help"], ["-h"]])("answers %s, and starts nothing", async (flag) => {
    const seen = await run([flag], failing(new Error("started")));
    expect(seen).toMatchObject({ out: "the help\n", err: "", status: 0, signals: [] });
  });

  test("says of what it does not understand where its settings come from", async () => {
    const seen = await run(["--port", "80"], running);
    expect(seen).toMatchObject({ status: 78, signals: [] });
    expect(seen.err).toBe(
      "--port 80 is not understood: everything is set by environment variables, which --help lists\n",
    );
  });

  test("ends with 78 and a line for a setting that turns out to be wrong as it starts, and logs nothing", async () => {
    const seen = await run([], failing(new SettingsError(["AGENTKEYS_A must be set"])));
    expect(seen).toMatchObject({ status: 78, err: "AGENTKEYS_A must be set\n", logged: "" });
  });

  test("ends with a refusal's own status", async () => {
    const seen = await run([], failing(new Refused("the seal is another's")));
    expect(seen.status).toBe(42);
    expect(JSON.parse(seen.logged)).toMatchObject({
      level: "fatal",
      why: "the seal is another's",
      msg: "it does not serve",
    });
  });

  test("ends with 1 and logs whatever else went wrong, without the tokens in it", async () => {
    const seen = await run([], failing(new Error("answered eyJhbGciOiJFUzI1NiJ9.e30.c2ln")));
    expect(seen.status).toBe(1);
    expect(JSON.parse(seen.logged)).toMatchObject({ error: { message: "answered [token]" }, msg: "it cannot start" });
  });
});

test("the help of a service names each setting, and what holds where it is not set", () => {
  const help = serviceHelp({
    command: "npm run start:it",
    about: "It.",
    flags: { "--once": "do it once" },
    settings: {
      AGENTKEYS_A: required("what must be known", text),
      AGENTKEYS_B: optional("host:port to listen on", listenAddress, { host: "127.0.0.1", port: 1 }),
      AGENTKEYS_C: optional("how many", integer(0, 9), 3),
      AGENTKEYS_D: optional("whose", text, undefined),
      AGENTKEYS_E: optional("for whom", text, ["one", "two"]),
      AGENTKEYS_F: optional("which", oneOf("red", "green", "blue"), "red"),
    },
  });
  expect(help).toBe(`Usage: npm run start:it [FLAGS]

It.

Flags:
  --once
      do it once

Settings, from the environment:
  AGENTKEYS_A
      what must be known; must be set
  AGENTKEYS_B
      host:port to listen on (127.0.0.1:1)
  AGENTKEYS_C
      how many (3)
  AGENTKEYS_D
      whose
  AGENTKEYS_E
      for whom (one, two)
  AGENTKEYS_F
      which: red, green or blue (red)

Exit status 78 says that a setting is wrong, and standard error which.
`);
});
