import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";

import { ErrorReason } from "../failure.ts";
import { failureOf } from "./index.ts";
import { failureIn } from "./testing/raw-http.ts";
import { protocols } from "./testing/protocols.ts";
import { ACCOUNT, startToy } from "./testing/toy-server.ts";

const { deriveAddress } = KeyService.method;
const never = (): Promise<never> => new Promise(() => undefined);

describe.each(protocols)("over $name", ({ call }) => {
  test("no call outlives the server's maximum, even if its handler does", async () => {
    await using toy = await startToy({ limits: { maxTimeoutMs: 30 }, keys: { deriveAddress: never } });
    const failure = failureOf(
      await call(toy.url, deriveAddress, { omniAccount: ACCOUNT }, { timeoutMs: 3_600_000 }).catch(
        (error: unknown) => error,
      ),
    );
    expect(failure).toMatchObject({ code: Code.DeadlineExceeded, reason: ErrorReason.DEADLINE });
    expect(failure.message).toBe("The call took longer than its deadline.");
  });

  test("the handler learns of a shorter deadline of the client's", async () => {
    const seen: (number | undefined)[] = [];
    await using toy = await startToy({
      keys: {
        deriveAddress: (_, { timeoutMs }) => {
          seen.push(timeoutMs());
          return {};
        },
      },
    });
    await call(toy.url, deriveAddress, { omniAccount: ACCOUNT }, { timeoutMs: 20_000 });
    await call(toy.url, deriveAddress, { omniAccount: ACCOUNT });
    expect(seen[0]).toBeGreaterThan(0);
    expect(seen[0]).toBeLessThanOrEqual(20_000);
    expect(seen[1]).toBeGreaterThan(20_000); // the server's own maximum: 60 s
    expect(seen[1]).toBeLessThanOrEqual(60_000);
  });
});

test("the signal of a call that is past its deadline aborts, so that the handler can stop", async () => {
  const aborted: Promise<unknown>[] = [];
  await using toy = await startToy({
    limits: { maxTimeoutMs: 30 },
    keys: {
      deriveAddress: (_, { signal }) => {
        aborted.push(new Promise((resolve) => signal.addEventListener("abort", resolve)));
        return never();
      },
    },
  });
  await fetch(`${toy.url}/dev/derive-address`, { method: "POST", body: Buffer.from(`{"omni_account":"${ACCOUNT}"}`) });
  expect(aborted).toHaveLength(1);
  await Promise.all(aborted);
});

test.each([
  ["connect-timeout-ms", "application/json", "soon"],
  ["connect-timeout-ms", "application/json", "12345678901"],
])("a timeout header that cannot be read is refused: %s", async (name, type, value) => {
  await using toy = await startToy();
  const response = await fetch(`${toy.url}/dev/derive-address`, {
    method: "POST",
    headers: { "content-type": type, [name]: value },
    body: JSON.stringify({ omni_account: ACCOUNT }),
  });
  expect(response.status).toBe(400);
  expect(failureIn(await response.json())).toMatchObject({
    reason: ErrorReason.INVALID_REQUEST,
    message: "The header connect-timeout-ms cannot be read: it must be milliseconds, at most ten digits.",
  });
});

test("a client that goes away cancels its call, which the log calls so", async () => {
  let begun: (() => void) | undefined;
  const running = new Promise<void>((resolve) => (begun = resolve));
  await using toy = await startToy({
    keys: {
      deriveAddress: async () => {
        begun?.();
        return await never();
      },
    },
  });
  const leave = new AbortController();
  const call = fetch(`${toy.url}/dev/derive-address`, {
    method: "POST",
    body: Buffer.from(`{"omni_account":"${ACCOUNT}"}`),
    signal: leave.signal,
  });
  await running;
  leave.abort();
  await expect(call).rejects.toThrow();
  expect(await toy.nextLog(({ msg }) => msg === "call")).toMatchObject({ code: "canceled" });
  expect(toy.logged.filter(({ level }) => level === "error")).toEqual([]);
});
