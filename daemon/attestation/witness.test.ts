import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { Problem } from "../problem.ts";
import { createMemoryLog, type MemoryLog } from "../testing/memory-log.ts";
import { openWitness, type SeenHead, type Witness } from "./witness.ts";

const LOG_KEY = "signer-1.example+a1b2c3d4+" + "A".repeat(44);
let folder: string;
let witness: Witness;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agentkeys-witness-"));
  witness = openWitness(join(folder, "state"), LOG_KEY);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const headOf = async (log: MemoryLog, counter?: number): Promise<SeenHead> => ({
  size: log.entries.length,
  root: await log.root(),
  ...(counter !== undefined && { counter }),
});

/** Shows the log as it is; resolves to the problem that a person would be told, if there is one. */
async function see(log: MemoryLog, counter?: number, by = witness): Promise<Problem | undefined> {
  try {
    const head = await headOf(log, counter);
    await by.see(head, {
      again: () => headOf(log, counter),
      consistencyProof: (from, to) => log.consistencyProof(from, to),
    });
    return undefined;
  } catch (error) {
    return error as Problem;
  }
}

const kept = (): Record<string, unknown> => {
  const [file = ""] = readdirSync(join(folder, "state")).filter((name) => name.endsWith(".json"));
  return JSON.parse(readFileSync(join(folder, "state", file), "utf8")) as Record<string, unknown>;
};

describe("a witness", () => {
  test("follows a log that only grows, from nothing and from anywhere", async () => {
    const log = createMemoryLog();
    for (let counter = 0; counter < 20; counter++) {
      expect(await see(log, counter)).toBeUndefined();
      expect(kept()).toMatchObject({ size: log.entries.length, counter });
      for (let more = 0; more <= counter % 3; more++) log.entries.push(Buffer.from(`entry ${log.entries.length}`));
    }
  });

  test("asks for nothing when nothing has changed", async () => {
    const log = createMemoryLog("a", "b");
    await see(log);
    const refuse = (): never => {
      throw new Error("asked");
    };
    await witness.see(await headOf(log), { again: refuse, consistencyProof: refuse });
  });

  test("remembers each log by itself", async () => {
    await see(createMemoryLog("a", "b"));
    const other = openWitness(join(folder, "state"), LOG_KEY.replace("signer-1", "signer-2"));
    expect(await see(createMemoryLog("c"), undefined, other)).toBeUndefined();
    expect(await see(createMemoryLog("a"))).toMatchObject({ reason: "SIGN_LOG_ROLLED_BACK" });
  });

  test("is not misled by a head that another process overtook", async () => {
    const log = createMemoryLog("a");
    const early = await headOf(log);
    log.entries.push(Buffer.from("b"));
    await see(log);
    log.entries.push(Buffer.from("c"));
    await witness.see(early, {
      again: () => headOf(log),
      consistencyProof: (from, to) => log.consistencyProof(from, to),
    });
    expect(kept()).toMatchObject({ size: 3 });
  });

  test("writes nothing for anybody else to read", async () => {
    await see(createMemoryLog("a"));
    const [file = ""] = readdirSync(join(folder, "state")).filter((name) => name.endsWith(".json"));
    expect(file).toMatch(/^sign-log-[0-9a-f]{16}\.json$/);
    const { mode } = statSync(join(folder, "state", file));
    expect(mode & 0o777).toBe(0o600);
  });
});

describe("an entry that an answer named", () => {
  test("has to be in every later log, by whichever process it is seen", async () => {
    const log = createMemoryLog("a", "b");
    await see(log, 1);
    await witness.answered(2);
    await witness.answered(1); // an earlier answer takes nothing back
    expect(await see(log, 1)).toMatchObject({ reason: "SIGN_LOG_ROLLED_BACK" });
    const other = openWitness(join(folder, "state"), LOG_KEY);
    expect(await see(log, 1, other)).toMatchObject({ reason: "SIGN_LOG_ROLLED_BACK" });
    log.entries.push(Buffer.from("c"));
    expect(await see(log, 2, other)).toBeUndefined();
    log.entries.push(Buffer.from("d"));
    expect(await see(log, 2)).toBeUndefined();
    expect(kept()).toMatchObject({ size: 4, counter: 2 });
  });

  test("is asked for once more where the head was on its way before the answer", async () => {
    const log = createMemoryLog("a");
    await see(log);
    const early = await headOf(log);
    log.entries.push(Buffer.from("b"));
    await witness.answered(1);
    await witness.see(early, {
      again: () => headOf(log),
      consistencyProof: (from, to) => log.consistencyProof(from, to),
    });
    expect(kept()).toMatchObject({ size: 2 });
  });

  test("is missed in an audit's checkpoint too", async () => {
    const log = createMemoryLog("a", "b");
    await see(log);
    await witness.answered(2);
    const checkpoint = await headOf(log);
    const agreed = witness.agree(() => Promise.resolve({ checkpoint }), log);
    await expect(agreed).rejects.toMatchObject({ reason: "SIGN_LOG_ROLLED_BACK" });
  });

  test("is remembered only of a log that was seen, and by a number that is one", async () => {
    await expect(witness.answered(0)).rejects.toThrow();
    await see(createMemoryLog("a"));
    for (const odd of [-1, 0.5, NaN, 2 ** 53]) await expect(witness.answered(odd)).rejects.toThrow();
  });
});

describe("stops everything, and keeps what it knew, when", () => {
  const honest = (): MemoryLog => createMemoryLog("a", "b", "c", "d", "e");

  test.each<[string, () => MemoryLog, string]>([
    ["the log was cut short", () => createMemoryLog("a", "b", "c"), "SIGN_LOG_ROLLED_BACK"],
    ["the log is empty again", () => createMemoryLog(), "SIGN_LOG_ROLLED_BACK"],
    ["an entry was changed", () => createMemoryLog("a", "b", "C", "d", "e"), "SIGN_LOG_FORKED"],
    ["an entry was changed and others added", () => createMemoryLog("a", "b", "C", "d", "e", "f"), "SIGN_LOG_FORKED"],
    ["entries changed places", () => createMemoryLog("b", "a", "c", "d", "e", "f"), "SIGN_LOG_FORKED"],
    [
      "the last entry was taken out and others added",
      () => createMemoryLog("a", "b", "c", "d", "f", "g"),
      "SIGN_LOG_FORKED",
    ],
  ])("%s", async (_, other, reason) => {
    expect(await see(honest(), 5)).toBeUndefined();
    const before = kept();
    const problem = await see(other(), 6);
    expect(problem).toMatchObject({ reason, kind: "standing" });
    expect(problem?.text).toContain(folder);
    expect(kept()).toEqual(before);
  });

  test("the hardware's counter went back, though the log did not", async () => {
    await see(honest(), 5);
    expect(await see(honest(), 4)).toMatchObject({ reason: "SIGN_LOG_ROLLED_BACK" });
    expect(await see(honest())).toMatchObject({ reason: "SIGN_LOG_ROLLED_BACK" });
    expect(await see(honest(), 5)).toBeUndefined();
  });

  test("no proof can be had for what this machine saw", async () => {
    await see(honest());
    const grown = createMemoryLog("a", "b", "c", "d", "e", "f");
    const seen = witness.see(await headOf(grown), {
      again: () => headOf(grown),
      consistencyProof: () => Promise.reject(new Problem("LOG_POSITION_UNKNOWN", "standing", "no")),
    });
    await expect(seen).rejects.toMatchObject({ reason: "SIGN_LOG_FORKED" });
  });

  test("what it remembers is damaged", async () => {
    await see(honest());
    const [file = ""] = readdirSync(join(folder, "state")).filter((name) => name.endsWith(".json"));
    writeFileSync(join(folder, "state", file), "{}");
    const problem = await see(honest());
    expect(problem).toMatchObject({ reason: "STATE_DAMAGED" });
    // Signing out removes the session, and must not make anybody forget this.
    expect(problem?.text).not.toContain("logout");
    expect(problem?.text).toContain(`remove ${join(folder, "state", file)}`);
  });
});

test("a proof that does not come now is no verdict", async () => {
  await see(createMemoryLog("a"));
  const grown = createMemoryLog("a", "b");
  const seen = witness.see(await headOf(grown), {
    again: () => headOf(grown),
    consistencyProof: () => Promise.reject(new Problem("KEYS_UNREACHABLE", "passing", "gone")),
  });
  await expect(seen).rejects.toMatchObject({ reason: "KEYS_UNREACHABLE" });
  expect(await see(grown)).toBeUndefined();
});
