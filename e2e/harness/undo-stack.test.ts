import { expect, test } from "vitest";

import { createUndoStack } from "./undo-stack.ts";

test("undoes the last thing first, and everything once", async () => {
  const done: string[] = [];
  const stack = createUndoStack();
  for (const name of ["a", "b"]) stack.add(() => void done.push(name));
  await stack.run();
  await stack.run();
  expect(done).toEqual(["b", "a"]);
});

test("goes on when something cannot be undone, kills it, and says so", async () => {
  const done: string[] = [];
  const stack = createUndoStack();
  stack.add(() => void done.push("first"));
  stack.add(
    () => Promise.reject(new Error("stuck")),
    () => void done.push("killed"),
  );
  await expect(stack.run()).rejects.toThrow("stuck");
  expect(done).toEqual(["killed", "first"]);
});

test("kills what was not undone in time", async () => {
  const done: string[] = [];
  const stack = createUndoStack();
  stack.add(
    () => undefined,
    () => void done.push("killed"),
  );
  stack.kill();
  await stack.run();
  expect(done).toEqual(["killed"]);
});
