import type { RandomBytes } from "@agentkeys/lib/random";

import { backoffMs } from "../backoff.ts";
import type { Problem, ProblemKind } from "../problem.ts";
import { type AwsCredentials, isUsable, refreshTime } from "./aws-credentials.ts";

/**
 * How a long-running process keeps AWS credentials fresh, without doing anything itself: `next` says what comes after an event, the
 * keeper does it. While `refreshing`, a refresh is under way; while `waiting`, one is due at `wakeAt`. Times in epoch milliseconds.
 */
export type RefreshState = {
  /** What can be handed out, until it expires. */
  credentials?: AwsCredentials;
  /** Failures in a row. */
  failures: number;
  /** Why the last refresh failed. */
  trouble?: Trouble;
} & ({ at: "waiting"; wakeAt: number } | { at: "refreshing"; again: boolean });

/** What is known of a failed refresh. */
export interface Trouble {
  reason: string;
  kind: ProblemKind;
  /** For people, with what to do about it. */
  text: string;
}

export type RefreshEvent =
  /** The time for the next refresh has come. */
  | { type: "woke" }
  /** What the machine is enrolled with has changed: another session, another account, or nobody any more. */
  | { type: "enrolment-changed"; sameAccount: boolean }
  | { type: "obtained"; credentials: AwsCredentials }
  /** `delayMs`: how long to wait before the next try; see `retryDelayMs`. */
  | { type: "failed"; trouble: Trouble; delayMs: number };

/** The start: the first refresh is under way. */
export const firstRefresh: RefreshState = { at: "refreshing", again: false, failures: 0 };

/** What comes after an event. A state that turns to `refreshing` asks for a refresh to be started. */
export function next(state: RefreshState, event: RefreshEvent, now: number): RefreshState {
  switch (event.type) {
    case "woke":
      return state.at === "waiting" && now >= state.wakeAt ? startedAgain(state) : state;

    case "enrolment-changed": {
      const kept = event.sameAccount ? held(state) : {};
      // What is under way may have begun with the old enrolment: its outcome does not count.
      return { ...kept, at: "refreshing", again: state.at === "refreshing", failures: 0 };
    }

    case "obtained": {
      const { credentials } = event;
      if (state.at === "waiting") return state;
      if (state.again) return startedAgain(state);
      return { at: "waiting", credentials, failures: 0, wakeAt: Math.max(refreshTime(credentials), now + MIN_WAIT_MS) };
    }

    case "failed": {
      if (state.at === "waiting") return state;
      if (state.again) return startedAgain(state);
      return {
        ...(ending.has(event.trouble.reason) ? {} : held(state)),
        at: "waiting",
        failures: state.failures + 1,
        trouble: event.trouble,
        wakeAt: now + Math.max(event.delayMs, MIN_WAIT_MS),
      };
    }
  }
}

/** What can be handed out now: credentials, or why there are none. */
export function view(state: RefreshState, now: number): { credentials: AwsCredentials } | { trouble: Trouble } {
  const { credentials, trouble } = state;
  if (credentials !== undefined && isUsable(credentials, now)) return { credentials };
  return { trouble: trouble ?? STARTING };
}

/**
 * How long to wait after a failure that had `failures` before it in a row. What passes by itself is tried again soon; what needs
 * somebody to do something, now and then, in case they did it where it cannot be noticed.
 */
export function retryDelayMs(problem: Problem, failures: number, random: RandomBytes): number {
  const backoff = problem.kind === "passing" ? { firstMs: 1000, maxMs: 60_000 } : { firstMs: 30_000, maxMs: 300_000 };
  return Math.max(backoffMs(backoff, failures + 1, random), problem.details.retryAfterMs ?? 0);
}

/** Between two refreshes there is always a moment, whatever the clock and the credentials say. */
export const MIN_WAIT_MS = 1000;

const STARTING: Trouble = { reason: "STARTING", kind: "passing", text: "The first credentials are being fetched." };

/** After these nothing is handed out any more, though AWS would still take it: somebody meant this machine to stop. */
const ending = new Set(["NOT_SIGNED_IN", "SESSION_REVOKED", "WALLET_CHANGED", "WALLET_NOT_LINKED"]);

function startedAgain(state: RefreshState): RefreshState {
  const { failures, trouble } = state;
  return { ...held(state), at: "refreshing", again: false, failures, ...(trouble !== undefined && { trouble }) };
}

function held({ credentials }: RefreshState): { credentials?: AwsCredentials } {
  return credentials === undefined ? {} : { credentials };
}
