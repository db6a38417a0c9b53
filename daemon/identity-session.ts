import type { Clock } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";
import { Secret } from "@agentkeys/lib/secret";

import { accessFor } from "./access.ts";
import { backoffMs } from "./backoff.ts";
import type { KeyServiceRoute } from "./key-service.ts";
import { Problem, problemOf } from "./problem.ts";
import { timeOf } from "./services.ts";
import type { Enrolment, IdentitySession, State } from "./state/index.ts";

/** Keeps the identity session alive, so that a person is asked again only when they must be. */
export interface SessionKeeper {
  /**
   * What this machine is enrolled with, its session renewed where that is due. While the session works, a renewal that fails is told
   * to `onTrouble` and tried again later. @throws Problem NOT_SIGNED_IN, SESSION_EXPIRED, STATE_*
   */
  current(): Promise<Enrolment>;
}

/** A machine that sleeps for most of a session's life finds it alive when a quarter is enough to be renewed. */
const RENEW_AFTER = 1 / 4;
/** Soon the first time: the broker may have renewed it, and gives the answer again for two minutes only. */
const BACKOFF = { firstMs: 20_000, maxMs: 600_000 };

export function createSessionKeeper(o: {
  state: State;
  keyService: KeyServiceRoute;
  clock: Clock;
  random: RandomBytes;
  onRenewed?: (session: IdentitySession) => void;
  onTrouble?: (problem: Problem) => void;
}): SessionKeeper {
  let failures = 0;
  let notBefore = 0;

  const renew = async (): Promise<Enrolment> => {
    const renewed = await o.state.update(async (kept) => {
      // Another process may have renewed it, or signed out, while this one waited for the lock.
      if (kept === undefined || !isRenewalDue(kept.session, o.clock())) return undefined;
      const session = await renewedSession(kept, o);
      if (session.token !== kept.session.token) o.onRenewed?.(session);
      return { ...kept, session };
    });
    return renewed ?? (await o.state.require());
  };

  return {
    async current() {
      const kept = await o.state.require();
      const now = o.clock();
      if (isRenewalDue(kept.session, now) && now >= notBefore) {
        try {
          const enrolment = await renew();
          failures = 0;
          return enrolment;
        } catch (error) {
          failures++;
          notBefore = o.clock() + backoffMs(BACKOFF, failures, o.random);
          o.onTrouble?.(problemOf(error));
        }
      }
      if (now < kept.session.expiresAt) return kept;
      throw new Problem("SESSION_EXPIRED", "sign-in", "This machine's session has ended.", {
        remedy: "Run `agentkeys init` to sign in.",
      });
    },
  };
}

/** Whether a session is old enough, and can still be renewed. */
export function isRenewalDue(session: IdentitySession, now: number): boolean {
  const { obtainedAt, expiresAt, renewableUntil = Infinity } = session;
  const dueAt = obtainedAt + (expiresAt - obtainedAt) * RENEW_AFTER;
  return now >= dueAt && now < expiresAt && now < renewableUntil;
}

async function renewedSession(
  kept: Enrolment,
  o: { keyService: KeyServiceRoute; clock: Clock; random: RandomBytes },
): Promise<IdentitySession> {
  const { asPerson } = await accessFor(kept, o);
  try {
    // An answer that was lost on the way left the old session ended: the broker gives it again to who asks at once.
    const renewed = await asPerson.login.renewSession({}).catch((error: unknown) => {
      if (wasLost(error)) return asPerson.login.renewSession({});
      throw error;
    });
    return {
      token: new Secret(renewed.sessionJwt),
      obtainedAt: o.clock(),
      expiresAt: timeOf(renewed.expiresAt),
      renewableUntil: timeOf(renewed.renewableUntil),
    };
  } catch (error) {
    // There is no use in asking again; the session lives to its end.
    if (error instanceof Problem && error.reason === "RENEWAL_ENDED") return { ...kept.session, renewableUntil: 0 };
    throw error;
  }
}

/** Whether a call may have been done although no answer came. */
function wasLost(error: unknown): boolean {
  return error instanceof Problem && error.reason === "BROKER_UNREACHABLE";
}
