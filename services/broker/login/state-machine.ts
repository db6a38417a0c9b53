import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import type { Login, LoginStatus } from "./store.ts";

/** The link led to a decision already. Programs see LOGIN_NOT_FOUND; the page can say more to who holds the link. */
export class LinkUsed extends Failure {
  constructor() {
    super(ErrorReason.LOGIN_NOT_FOUND, "the link was used already");
  }
}

/** What can happen to a sign-in: the person presses a button, or the program that started it comes for its session. */
export type LoginEvent = "confirm" | "refuse" | "collect";

/**
 * The rules of a sign-in as a pure function: the status that `event` leads to, or why it leads nowhere.
 *
 *     pending ── confirm ──► confirmed ── collect ──► collected
 *        └────── refuse ───► refused          (all but the ends expire)
 */
export function next(
  login: Pick<Login, "status" | "expiresAt">,
  event: LoginEvent,
  now: number,
): LoginStatus | Failure {
  if (login.status === "collected") return event === "collect" ? gone() : new LinkUsed();
  if (login.status === "refused") {
    return new Failure(ErrorReason.LOGIN_REFUSED, "the sign-in was refused by the person it was mailed to");
  }
  if (login.expiresAt <= now) {
    return new Failure(ErrorReason.LOGIN_EXPIRED, "the sign-in was not finished in time; start a new one");
  }
  switch (event) {
    case "confirm":
      return login.status === "pending" ? "confirmed" : new LinkUsed();
    case "refuse":
      return login.status === "pending" ? "refused" : new LinkUsed();
    case "collect":
      return login.status === "confirmed" ? "collected" : pending();
  }
}

function gone(): Failure {
  return new Failure(ErrorReason.LOGIN_NOT_FOUND, "no such sign-in, or its session was collected already");
}

/** Nothing has been decided yet. */
export function pending(): Failure {
  return new Failure(ErrorReason.LOGIN_PENDING, "nobody has confirmed the sign-in yet; ask again", {
    retryAfterMs: 1_000,
  });
}
