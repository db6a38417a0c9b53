import { performance } from "node:perf_hooks";

/** What one run of many calls took. */
export interface Figures {
  calls: number;
  /** Calls in flight at a time. */
  concurrency: number;
  /** Finished calls per second over the whole run. */
  perSecond: number;
  /** Milliseconds per call: half of them took no longer, 99 of 100 took no longer. */
  p50: number;
  p99: number;
}

/** One thing to measure. */
export interface Subject {
  /** Makes what call number `index` needs, before any clock runs: keys, proofs, challenges. */
  prepare?: (index: number) => Promise<() => Promise<unknown>>;
  /** Or the call itself where nothing needs preparing. */
  call?: () => Promise<unknown>;
}

/**
 * Runs `calls` calls, `concurrency` at a time, after a tenth as many that warm up and do not count. A call that fails
 * ends the measurement: figures of failures mean nothing.
 */
export async function measure(subject: Subject, calls: number, concurrency: number): Promise<Figures> {
  await run(subject, Math.ceil(calls / 10), concurrency);
  const { times, elapsed } = await run(subject, calls, concurrency);
  times.sort((a, b) => a - b);
  return {
    calls,
    concurrency,
    perSecond: (calls / elapsed) * 1000,
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
  };
}

async function run(
  subject: Subject,
  calls: number,
  concurrency: number,
): Promise<{ times: number[]; elapsed: number }> {
  const prepared: (() => Promise<unknown>)[] = [];
  for (let index = 0; index < calls; index++) prepared.push(await ready(subject, index));
  const times: number[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let call = prepared[next++]; call !== undefined; call = prepared[next++]) {
      const before = performance.now();
      await call();
      times.push(performance.now() - before);
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: concurrency }, worker));
  return { times, elapsed: performance.now() - start };
}

function ready(subject: Subject, index: number): (() => Promise<unknown>) | Promise<() => Promise<unknown>> {
  if (subject.prepare !== undefined) return subject.prepare(index);
  if (subject.call === undefined) throw new Error("nothing to measure");
  return subject.call;
}

/** What so many of sorted figures do not exceed. */
export function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * part) - 1)] ?? NaN;
}
