import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { Problem, problemOf } from "../problem.ts";
import { sampleEnrolment } from "../testing/enrolment.ts";
import { openState, type State, stateFolder } from "./index.ts";
import { withLock } from "./lock.ts";
import { formatRecord } from "./record.ts";
import { unusable } from "./trouble.ts";

const WRITER = join(import.meta.dirname, "..", "testing", "state-writer.ts");
const BROKER = "http://127.0.0.1:8091";

let base: string;
let folder: string;
let state: State;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "agentkeys-state-"));
  folder = join(base, "deep", "agentkeys");
  state = openState(folder, BROKER);
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const modeOf = (path: string): number => statSync(path).mode & 0o777;
const keep = (): Promise<unknown> => state.update(() => Promise.resolve(sampleEnrolment()));
async function problemIn(promise: Promise<unknown>): Promise<Problem> {
  return await promise.then(() => Promise.reject(new Error("It went well.")), problemOf);
}

describe("where the state is", () => {
  const where = (env: Record<string, string>, stateDir?: string): string =>
    stateFolder({ env, home: "/home/ada", ...(stateDir !== undefined && { stateDir }) });
  test.each([
    [{}, undefined, "/home/ada/.local/state/agentkeys"],
    [{ XDG_STATE_HOME: "/var/ada" }, undefined, "/var/ada/agentkeys"],
    [{ XDG_STATE_HOME: "relative" }, undefined, "/home/ada/.local/state/agentkeys"],
    [{ XDG_STATE_HOME: "/var/ada" }, "/srv/keys", "/srv/keys"],
  ])("with %j and AGENTKEYS_STATE_DIR %j it is %s", (env, stateDir, expected) => {
    expect(where(env, stateDir)).toBe(expected);
  });
});

describe("the state of a machine", () => {
  test("is nothing at first, and reading it makes nothing", async () => {
    expect(await state.read()).toBeUndefined();
    expect((await problemIn(state.require())).reason).toBe("NOT_SIGNED_IN");
    expect(existsSync(folder)).toBe(false);
  });

  test("is kept for its owner alone, whatever the umask", async () => {
    const umask = process.umask(0);
    try {
      await keep();
    } finally {
      process.umask(umask);
    }
    expect(modeOf(folder)).toBe(0o700);
    expect(modeOf(join(folder, "state.json"))).toBe(0o600);
    expect(await state.read()).toEqual(sampleEnrolment());
    expect(readdirSync(folder)).toEqual(["state.json"]);
  });

  test.each([
    ["the folder", "", 0o750, "chmod 700"],
    ["the folder", "", 0o701, "chmod 700"],
    ["the file", "state.json", 0o640, "chmod 600"],
    ["the file", "state.json", 0o604, "chmod 600"],
  ])("is refused when others may open %s", async (_, name, mode, remedy) => {
    await keep();
    chmodSync(join(folder, name), mode);
    for (const use of [() => state.read(), keep, () => state.clear(() => Promise.resolve())]) {
      const problem = await problemIn(use());
      expect(problem).toMatchObject({ reason: "STATE_PERMISSIONS", exitCode: 78 });
      expect(problem.text).toContain(`\`${remedy} ${join(folder, name).replace(/\/$/, "")}`);
    }
    expect(existsSync(join(folder, "state.json"))).toBe(true);
  });

  test("is not read through a symbolic link", async () => {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(join(base, "elsewhere"), formatRecord(sampleEnrolment()), { mode: 0o600 });
    symlinkSync(join(base, "elsewhere"), join(folder, "state.json"));
    expect((await problemIn(state.read())).text).toContain("it is a symbolic link");
  });

  test("is refused for another broker, and left as it is", async () => {
    await keep();
    const other = openState(folder, "https://other.example");
    const change = (): Promise<unknown> => other.update(() => Promise.resolve(sampleEnrolment()));
    for (const use of [() => other.read(), () => other.require(), change]) {
      const problem = await problemIn(use());
      expect(problem).toMatchObject({ reason: "STATE_OTHER_BROKER", exitCode: 78 });
      expect(problem.text).toContain(BROKER);
      expect(problem.text).toContain("https://other.example");
    }
    expect(await state.read()).toEqual(sampleEnrolment());
  });

  test.each([
    ["another version", '{"version": 2}', "STATE_VERSION"],
    ["no JSON", "{", "STATE_DAMAGED"],
    ["nothing", "", "STATE_DAMAGED"],
    ["far too much", "x".repeat(2_000_000), "STATE_DAMAGED"],
  ])("that holds %s is refused with the remedy, and can be removed", async (_, contents, reason) => {
    await keep();
    writeFileSync(join(folder, "state.json"), contents);
    const problem = await problemIn(state.read());
    expect(problem).toMatchObject({ reason, exitCode: 78 });
    expect(problem.text).toContain("agentkeys logout");
    expect(problem.text).not.toMatch(/JSON|token|position/);

    let told: unknown;
    await state.clear((kept) => Promise.resolve(void (told = kept)));
    expect(told).toBeInstanceOf(Problem);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("is removed as a whole, also what a killed process left", async () => {
    await keep();
    for (const name of ["credentials-0123456789abcdef.json", "state.json.new"]) writeFileSync(join(folder, name), "x");
    writeFileSync(join(folder, "somebody-elses"), "x");
    let told: unknown;
    await state.clear((kept) => Promise.resolve(void (told = kept)));
    expect(told).toEqual(sampleEnrolment());
    expect(readdirSync(folder)).toEqual(["somebody-elses"]);
  });

  test("stays what it was when a change fails", async () => {
    await keep();
    await problemIn(state.update(() => Promise.reject(new Error("no"))));
    expect(await state.read()).toEqual(sampleEnrolment());
    expect(readdirSync(folder)).toEqual(["state.json"]);
  });
});

describe("a folder that cannot be used", () => {
  test.each([
    ["below a file", (): string => join(base, "file", "agentkeys"), "a part of the path is not a folder"],
    ["that is a file", (): string => join(base, "file"), "is not a folder"],
    ["where nothing can be made", (): string => "/proc/agentkeys", "cannot be used"],
  ])("%s is told in words, before anything is done", async (_, path, words) => {
    writeFileSync(join(base, "file"), "");
    let changed = false;
    const use = openState(path()).update(() => {
      changed = true;
      return Promise.resolve(sampleEnrolment());
    });
    const problem = await problemIn(use);
    expect(problem).toMatchObject({ reason: "STATE_UNUSABLE", exitCode: 78 });
    expect(problem.text).toContain(words);
    expect(changed).toBe(false);
  });

  test.each([
    ["EROFS", "its file system is read-only"],
    ["ENOSPC", "the disk is full"],
    ["EACCES", "this user is not allowed to"],
    ["EIO", "the system says EIO"],
  ])("by %s says so", (code, words) => {
    expect(unusable("/x", Object.assign(new Error("raw text"), { code })).text).toContain(words);
  });
});

describe("other processes", () => {
  const children: ChildProcess[] = [];
  afterEach(() => children.splice(0).forEach((child) => child.kill("SIGKILL")));

  function startWriter(...args: string[]): ChildProcess {
    const child = spawn(process.execPath, ["--import", "tsx", WRITER, folder, ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(child);
    return child;
  }

  /** As if the time had passed after which a lock that nobody renews is free. */
  function ageLock(): void {
    const lock = join(folder, "state.lock");
    if (existsSync(lock)) utimesSync(lock, new Date(0), new Date(0));
  }

  test("change the state one after the other, and no change is lost", async () => {
    const writers = [startWriter("40"), startWriter("40"), startWriter("40")];
    await Promise.all(writers.map((writer) => once(writer, "exit")));
    expect((await state.require()).session.renewableUntil).toBe(120);
    expect(readdirSync(folder)).toEqual(["state.json"]);
  });

  test("may read while one writes, and always find a whole state", async () => {
    const writer = startWriter();
    if (writer.stdout !== null) await once(writer.stdout, "data");
    const seen = new Set<number | undefined>();
    // However slow the machine is: reads go on until they have met five changes.
    for (let reads = 0; reads < 500 || seen.size <= 5; reads++)
      seen.add((await state.require()).session.renewableUntil);
    expect(writer.exitCode).toBeNull();
  });

  test("that are killed while they write leave a whole state, and a lock that is soon forgotten", async () => {
    for (let i = 0; i < 3; i++) {
      const writer = startWriter();
      if (writer.stdout !== null) await once(writer.stdout, "data");
      writer.kill("SIGKILL");
      await once(writer, "exit");
      expect((await state.require()).session.renewableUntil).toBeGreaterThan(0);
      ageLock();
    }
    await keep();
    expect(await state.read()).toEqual(sampleEnrolment());
    expect(readdirSync(folder)).toEqual(["state.json"]);
  });

  test("on a disk that takes only a part of what is written leave what was there", async () => {
    await keep();
    const before = readFileSync(join(folder, "state.json"), "utf8");
    // Files of this process may have 1 KiB: of more, the system writes the first part, then refuses.
    const bundle = join(base, "writer.mjs");
    const { build } = await import("esbuild");
    await build({
      entryPoints: [WRITER],
      outfile: bundle,
      bundle: true,
      platform: "node",
      format: "esm",
      logLevel: "silent",
      banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
    });
    const { stdout } = await promisify(execFile)("bash", [
      "-c",
      'ulimit -f 1 && exec "$0" "$@"',
      process.execPath,
      bundle,
      folder,
      "1",
    ]);
    expect(stdout).toMatch(/^STATE_UNUSABLE: .* Nothing was changed\./);
    expect(readFileSync(join(folder, "state.json"), "utf8")).toBe(before);
    expect(readdirSync(folder)).toEqual(["state.json"]);
  });

  test("wait for a lock", async () => {
    mkdirSync(folder, { recursive: true });
    const order: string[] = [];
    let enter: () => void = () => undefined;
    let leave: () => void = () => undefined;
    const entered = new Promise<void>((resolve) => (enter = resolve));
    const first = withLock(folder, "x", async () => {
      enter();
      await new Promise<void>((resolve) => (leave = resolve));
      order.push("first");
    });
    await entered;
    const second = withLock(folder, "x", () => Promise.resolve(order.push("second")));
    leave();
    await Promise.all([first, second]);
    expect(order).toEqual(["first", "second"]);
  });
});
