import { expect, test } from "vitest";

import { createLog } from "@agentkeys/lib/log";

import { createOutbox, ringing } from "./outbox.ts";
import type { Notice, NoticeStore } from "./store.ts";

/** An outbox whose rounds a test ends, each with what the round says or how it fails. */
function outbox() {
  const rounds: { end: (more?: boolean) => void; fail: (error: Error) => void }[] = [];
  const logged: string[] = [];
  const box = createOutbox(
    () => new Promise((resolve, reject) => rounds.push({ end: (more = false) => resolve(more), fail: reject })),
    createLog("t", { destination: { write: (line) => void logged.push(line) } }),
  );
  /** Lets everything go as far as it gets by itself. */
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return { box, rounds, logged, settle };
}

test("rings while a round is under way make one more, and never two at a time", async () => {
  const { box, rounds, settle } = outbox();
  box.ring();
  await settle();
  expect(rounds).toHaveLength(1);
  for (let ring = 0; ring < 3; ring++) box.ring();
  const sent = box.send();
  await settle();
  expect(rounds).toHaveLength(1);
  rounds[0]?.end();
  await settle();
  expect(rounds).toHaveLength(2);
  rounds[1]?.end();
  await settle();
  rounds[2]?.end();
  await sent;
  await settle();
  expect(rounds).toHaveLength(3);
});

test("a round that leaves some is followed by another", async () => {
  const { box, rounds, settle } = outbox();
  const sent = box.send();
  await settle();
  rounds[0]?.end(true);
  await settle();
  expect(rounds).toHaveLength(2);
  rounds[1]?.end();
  await sent;
});

test("a round that fails is logged where nobody waits for it, and the next one is begun all the same", async () => {
  const { box, rounds, logged, settle } = outbox();
  box.ring();
  await settle();
  rounds[0]?.fail(new Error("no store"));
  await settle();
  expect(logged.join()).toContain("no store");
  const sent = box.send();
  await settle();
  rounds[1]?.fail(new Error("still none"));
  await expect(sent).rejects.toThrow("still none");
});

test("once it is stopped nothing more is begun, and what is under way is waited for", async () => {
  const { box, rounds, settle } = outbox();
  box.ring();
  await settle();
  box.ring();
  let stopped = false;
  const stopping = box.stop().then(() => (stopped = true));
  await settle();
  expect(stopped).toBe(false);
  rounds[0]?.end(true);
  await stopping;
  box.ring();
  await settle();
  expect(rounds).toHaveLength(1);
});

test("a transaction rings after it has kept a notice, not before, not without one, and not when it was undone", async () => {
  const order: string[] = [];
  const notices = { insert: () => Promise.resolve() } as unknown as NoticeStore;
  const transaction = async <T>(work: (tx: { notices: NoticeStore }) => Promise<T>): Promise<T> => {
    const result = await work({ notices });
    order.push("kept");
    return result;
  };
  const run = ringing(transaction, { ring: () => void order.push("rang") });
  expect(await run(() => Promise.resolve(1))).toBe(1);
  expect(order.splice(0)).toEqual(["kept"]);
  await run((tx) => tx.notices.insert({} as Notice));
  expect(order.splice(0)).toEqual(["kept", "rang"]);
  const undone = run(async (tx) => {
    await tx.notices.insert({} as Notice);
    throw new Error("undone");
  });
  await expect(undone).rejects.toThrow("undone");
  expect(order).toEqual([]);
});
