import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { DAY } from "@agentkeys/lib/clock";
import { createLog } from "@agentkeys/lib/log";

import { createKeeper, type KeeperOptions } from "./keeper.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const now = 1_000_000_000;

/** A keeper whose chores write down that they were done; some fail. */
function keep(failing: readonly string[] = []) {
  const [done, logged]: string[][] = [[], []];
  const chore = (name: string) => (): Promise<void> => {
    if (failing.includes(name)) return Promise.reject(new Error(`${name} failed`));
    done?.push(name);
    return Promise.resolve();
  };
  const purge = (name: string) => ({
    purge: (time: number) => chore(`${name} before ${now - time} ms ago`)().then(() => 0),
  });
  const store = {
    logins: purge("logins"),
    oauthRequests: purge("visits to providers"),
    passkeyChallenges: purge("what passkeys were asked"),
    notices: purge("notices"),
    challenges: purge("challenges"),
    sessions: purge("sessions"),
    audit: {
      // A history so long that a round does not get through it.
      purge: (time: number, unowned: number, count: number) =>
        chore(`${count} events before ${now - time} ms ago, nobody's before ${now - unowned} ms ago`)().then(
          () => count,
        ),
    },
  };
  const keeper = createKeeper({
    store: store as unknown as KeeperOptions["store"],
    historyMs: 400 * DAY,
    also: [chore("session keys"), chore("OIDC keys")],
    clock: () => now,
    log: createLog("t", { destination: { write: (line) => void logged?.push(line) } }),
    everyMs: 60_000,
  });
  return { keeper, done: done ?? [], logged: logged ?? [] };
}

const round = [
  "session keys",
  "OIDC keys",
  "logins before 3600000 ms ago",
  "visits to providers before 3600000 ms ago",
  "what passkeys were asked before 3600000 ms ago",
  "notices before 3600000 ms ago",
  "challenges before 3600000 ms ago",
  "sessions before 86400000 ms ago",
  ...Array.from({ length: 10 }, () => `1000 events before ${400 * DAY} ms ago, nobody's before ${30 * DAY} ms ago`),
];

test("does a round every minute by itself, until it is stopped", async () => {
  const { keeper, done } = keep();
  await vi.advanceTimersByTimeAsync(59_000);
  expect(done).toEqual([]);
  await vi.advanceTimersByTimeAsync(62_000);
  expect(done).toEqual([...round, ...round]);
  await keeper.stop();
  await vi.advanceTimersByTimeAsync(600_000);
  expect(done).toHaveLength(2 * round.length);
});

test("a chore that fails is logged and keeps none of the others from being done", async () => {
  const { keeper, done, logged } = keep(["session keys", "logins before 3600000 ms ago"]);
  await keeper.tidy();
  await keeper.stop();
  expect(done).toEqual([round[1], ...round.slice(3)]);
  expect(logged.map((line) => /session keys failed|logins .* failed/.exec(line)?.[0].split(" ")[0])).toEqual([
    "session",
    "logins",
  ]);
});
