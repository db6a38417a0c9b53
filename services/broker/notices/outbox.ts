import type { Logger } from "@agentkeys/lib/log";

import type { NoticeStore } from "./store.ts";

/** Sends the notices that wait in the store, as soon as there are some: one round at a time, so that nobody is told twice. */
export interface Outbox {
  /** Says that something waits. What fails is logged, and left for whoever asks for the next round. */
  ring(): void;
  /** Sends what waits; resolves when that is over. */
  readonly send: () => Promise<void>;
  /** Begins no further mail; resolves when the one under way is over. */
  stop(): Promise<void>;
}

/** `round` sends some, until it is told to stop, and says whether others may wait behind them. */
export function createOutbox(round: (stopping: AbortSignal) => Promise<boolean>, log: Logger): Outbox {
  const stopping = new AbortController();
  let last = Promise.resolve();
  let queued = false;
  const all = async (): Promise<void> => {
    // What is written from here on was not seen by a round that is under way.
    queued = false;
    while (!stopping.signal.aborted && (await round(stopping.signal)));
  };
  const send = (): Promise<void> => {
    queued = true;
    const sent = last.then(all);
    last = sent.catch(() => undefined);
    return sent;
  };
  return {
    send,
    ring: () => {
      if (queued) return;
      send().catch((error: unknown) => log.error({ err: error }, "sending notices failed; it is tried again"));
    },
    stop: () => {
      stopping.abort();
      return last;
    },
  };
}

/**
 * Transactions that ring when they have written notices, once these are kept. The store remains what knows them: should the process
 * end between the two, the next round finds them.
 */
export function ringing<S extends { notices: NoticeStore }>(
  transaction: <T>(work: (tx: S) => Promise<T>) => Promise<T>,
  outbox: Pick<Outbox, "ring">,
): <T>(work: (tx: S) => Promise<T>) => Promise<T> {
  return async (work) => {
    const news = { written: false };
    const result = await transaction((tx) => {
      const insert: NoticeStore["insert"] = async (notice) => {
        await tx.notices.insert(notice);
        news.written = true;
      };
      return work({ ...tx, notices: { ...tx.notices, insert } });
    });
    if (news.written) outbox.ring();
    return result;
  };
}
