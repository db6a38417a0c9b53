import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { createLogOutput, standardOutput } from "./log-output.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A pipe with room for so many bytes, which a test reads. */
function pipe() {
  const it = { room: Infinity, text: "", writes: 0, error: undefined as string | undefined };
  const output = createLogOutput((bytes) => {
    it.writes++;
    const fits = Math.min(it.room, bytes.length);
    if (it.error !== undefined || fits === 0) throw Object.assign(new Error(), { code: it.error ?? "EAGAIN" });
    it.room -= fits;
    it.text += Buffer.from(bytes.subarray(0, fits)).toString();
    return fits;
  });
  return Object.assign(it, { output });
}

test("a line is out before the call that wrote it returns", () => {
  const it = pipe();
  it.output.write("one\n");
  expect(it.text).toBe("one\n");
});

test("a reader that is slow gets every line, whole and in order, without another one being logged", () => {
  const it = pipe();
  it.room = 6;
  for (const line of ["one\n", "two\n", "three\n"]) it.output.write(line);
  expect(it.text).toBe("one\ntw");
  it.room = 3;
  vi.advanceTimersByTime(100);
  it.room = Infinity;
  vi.advanceTimersByTime(100);
  expect(it.text).toBe("one\ntwo\nthree\n");
});

test("what a reader does not read is kept up to a megabyte; then lines are lost, and it says how many", () => {
  const it = pipe();
  it.room = 0;
  const line = "x".repeat(1023) + "\n";
  for (let i = 0; i < 1024 + 7; i++) it.output.write(line);
  it.room = Infinity;
  vi.advanceTimersByTime(100);
  expect(it.text.split(line)).toHaveLength(1024 + 1);
  expect(JSON.parse(it.text.slice(1024 * 1024))).toMatchObject({ level: "warn", lines: 7 });
  it.output.write("after\n");
  expect(it.text.endsWith("}\nafter\n")).toBe(true);
});

test("once the reader is gone nothing is tried any more", () => {
  const it = pipe();
  it.error = "EPIPE";
  it.output.write("one\n");
  it.output.write("two\n");
  it.output.flush();
  expect(it.writes).toBe(1);
});

test("a process has one standard output, however many logs it makes", () => {
  const before = process.listenerCount("exit");
  const first = standardOutput();
  expect(standardOutput()).toBe(first);
  expect(process.listenerCount("exit") - before).toBeLessThanOrEqual(1);
});
