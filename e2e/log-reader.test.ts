import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { afterEach, beforeEach, expect, test } from "vitest";

import { freePorts } from "./harness/free-port.ts";
import { fromSources } from "./harness/from-sources.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agentkeys-log-reader-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A service whose log goes into a pipe, as in `service | reader`; `full`: one that has no room for a single byte. */
async function startPiped(service: "broker" | "keys", o: { full: boolean }) {
  const port = await freePorts();
  const path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  if (o.full) fill(path);
  const child = spawn(process.execPath, fromSources(`services/${service}/main.ts`), {
    cwd: folder,
    env: {
      PATH: process.env["PATH"],
      // Has the compiler started as a process that shares this one's output, as any program's children may.
      TSX_DISABLE_CACHE: "1",
      AGENTKEYS_BROKER_LISTEN: `127.0.0.1:${port}`,
      AGENTKEYS_KEYS_LISTEN: `127.0.0.1:${port}`,
      DEV_KEY_SERVICE_MASTER_SECRET: "ab".repeat(32),
    },
    stdio: ["ignore", writer, writer],
  });
  closeSync(writer);
  const ended = once(child, "exit");
  const get = async (): Promise<number> => {
    const response = await fetch(`http://127.0.0.1:${port}/nothing`);
    await response.arrayBuffer();
    return response.status;
  };
  while (child.exitCode === null && (await get().catch(() => undefined)) === undefined) await delay(20);
  return { child, ended, get, reader };
}

function fill(path: string): void {
  // A descriptor of its own: that writes to this one do not block is no business of the service's.
  const filler = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    for (;;) writeSync(filler, ".".repeat(64));
  } catch (error) {
    expect(error).toMatchObject({ code: "EAGAIN" });
  } finally {
    closeSync(filler);
  }
}

test.each(["broker", "keys"] as const)(
  "a service (%s) whose log nobody reads any more answers on, and ends when it is told to",
  async (service) => {
    const { child, ended, get, reader } = await startPiped(service, { full: true });
    try {
      for (let i = 0; i < 5; i++) expect(await get()).toBe(404);
      child.kill("SIGTERM");
      expect(await ended).toEqual([0, null]);
    } finally {
      child.kill("SIGKILL");
      closeSync(reader);
    }
  },
);

test.each(["broker", "keys"] as const)("a service (%s) whose log reader is gone does too", async (service) => {
  const { child, ended, get, reader } = await startPiped(service, { full: false });
  closeSync(reader);
  try {
    for (let i = 0; i < 5; i++) expect(await get()).toBe(404);
    child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
  } finally {
    child.kill("SIGKILL");
  }
});
