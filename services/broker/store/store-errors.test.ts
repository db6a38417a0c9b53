import { expect, test } from "vitest";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { createLog } from "@agentkeys/lib/log";

import { createStoreGuard } from "./store-errors.ts";

const failing = (code: string) => () => Promise.reject(Object.assign(new Error(`says ${code}`), { code }));

test.each([
  "SQLITE_FULL",
  "SQLITE_READONLY",
  "SQLITE_READONLY_DBMOVED",
  "SQLITE_BUSY",
  "SQLITE_BUSY_SNAPSHOT",
  "SQLITE_IOERR_FSYNC",
  "SQLITE_CORRUPT",
])("%s is an outage: STORE_UNAVAILABLE with a time to wait, and the cause in the log only", async (code) => {
  const logged: string[] = [];
  const guard = createStoreGuard(createLog("t", { destination: { write: (line) => void logged.push(line) } }));
  const failure = await guard(failing(code)).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(Failure);
  const { reason, message, details } = failure as Failure;
  expect(reason).toBe(ErrorReason.STORE_UNAVAILABLE);
  expect(details.retryAfterMs).toBeGreaterThan(0);
  expect(message).not.toContain(code);
  expect(logged.join()).toContain(`says ${code}`);
});

test.each(["SQLITE_CONSTRAINT_UNIQUE", "SQLITE_ERROR", "ENOENT"])(
  "%s is a fault of ours and stays one",
  async (code) => {
    const guard = createStoreGuard(createLog("t", { level: "silent" }));
    await expect(guard(failing(code))).rejects.toThrow(`says ${code}`);
  },
);

test("a refusal passes as it is", async () => {
  const refusal = new Failure(ErrorReason.WALLET_TAKEN, "taken");
  const guard = createStoreGuard(createLog("t", { level: "silent" }));
  await expect(guard(() => Promise.reject(refusal))).rejects.toBe(refusal);
});
