import type { Clock } from "@agentkeys/lib/clock";
import type { Logger } from "@agentkeys/lib/log";
import type { RandomBytes } from "@agentkeys/lib/random";

import type { SessionKeeper } from "../identity-session.ts";
import type { Sleep } from "../io.ts";
import { Problem, problemOf } from "../problem.ts";
import { signInOf } from "../wallet-access.ts";
import type { AwsCredentials } from "./aws-credentials.ts";
import type { Offer } from "./delivery/container-endpoint.ts";
import { firstRefresh, next, type RefreshEvent, type RefreshState, retryDelayMs, view } from "./refresh.ts";

/** Keeps credentials fresh for as long as it runs. */
export interface CredentialKeeper {
  /** What there is now. While there is nothing and a refresh is under way, waits for it, up to `PATIENCE_MS`. */
  offer(): Promise<Offer>;
  /** Resolves when the first refresh is over, whatever came of it. */
  started: Promise<void>;
  /** Starts nothing more; resolves when what is under way is over. */
  close(): Promise<void>;
}

/** How often the clock and the state folder are looked at: a timer alone would oversleep when the machine does. */
const LOOK_MS = 5000;
/** AWS's SDKs wait one or two seconds for an answer. */
const PATIENCE_MS = 800;

/** Does what `refresh.ts` decides: `obtain` fetches credentials, `sessions` tells who the machine is enrolled as. */
export function keepCredentials(o: {
  obtain: () => Promise<AwsCredentials>;
  sessions: SessionKeeper;
  clock: Clock;
  random: RandomBytes;
  sleep: Sleep;
  log: Logger;
}): CredentialKeeper {
  const stopping = new AbortController();
  let state: RefreshState = firstRefresh;
  let underWay: Promise<void> = Promise.resolve();
  let enrolment: { signIn: string; omniAccount: string } | undefined;

  const handle = (event: RefreshEvent): void => {
    const before = state;
    state = next(state, event, o.clock());
    // Only a change of the state object asks for something to be started: see `next`.
    if (state !== before && state.at === "refreshing" && !state.again && !stopping.signal.aborted) underWay = refresh();
  };

  const refresh = async (): Promise<void> => {
    try {
      const credentials = await o.obtain();
      o.log.info({ msg: "credentials obtained", expires_at: new Date(credentials.expiresAt).toISOString() });
      handle({ type: "obtained", credentials });
    } catch (error) {
      const problem = problemOf(error);
      const delayMs = retryDelayMs(problem, state.failures, o.random);
      logTrouble(o.log, problem, delayMs);
      handle({ type: "failed", trouble: { reason: problem.reason, kind: problem.kind, text: problem.text }, delayMs });
    }
  };

  const look = async (): Promise<void> => {
    const seen = await o.sessions.current().then(
      (kept) => ({ signIn: signInOf(kept), omniAccount: kept.omniAccount }),
      (error: unknown) => ({ signIn: "", omniAccount: goneAccount(problemOf(error), enrolment?.omniAccount) }),
    );
    const before = enrolment;
    enrolment = seen;
    if (before === undefined || before.signIn === seen.signIn) return;
    handle({ type: "enrolment-changed", sameAccount: before.omniAccount === seen.omniAccount });
  };

  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await look();
      handle({ type: "woke" });
      const untilDue = state.at === "waiting" ? state.wakeAt - o.clock() : LOOK_MS;
      await o.sleep(Math.min(LOOK_MS, Math.max(untilDue, 0)), stopping.signal);
    }
  };

  underWay = refresh();
  const started = underWay;
  const running = run();
  return {
    started,
    async offer() {
      await look();
      handle({ type: "woke" });
      const now = view(state, o.clock());
      if ("credentials" in now || state.at === "waiting") return now;
      const patience = new AbortController();
      await Promise.race([underWay, o.sleep(PATIENCE_MS, patience.signal)]);
      patience.abort();
      return view(state, o.clock());
    },
    async close() {
      stopping.abort();
      await running;
      await underWay;
    },
  };
}

/** Who signed out has no account any more; state that cannot be read right now is still somebody's. */
function goneAccount({ reason }: Problem, before: string | undefined): string {
  return reason === "NOT_SIGNED_IN" ? "" : (before ?? "");
}

function logTrouble(log: Logger, problem: Problem, delayMs: number): void {
  const { reason, kind, text } = problem;
  log[kind === "passing" ? "warn" : "error"]({
    msg: "no new credentials",
    reason,
    why: text,
    retry_in_ms: delayMs,
    ...(log.isLevelEnabled("debug") && { err: problem.details.cause ?? problem }),
  });
}
