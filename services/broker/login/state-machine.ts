import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import type { Login, LoginStatus } from "./store.ts";

/** The link led to a decision already. Programs see LOGIN_NOT_FOUND; the page can say more to who holds the link. */
export class LinkUsed extends Failure {
  constructor() {
    super(ErrorReason.LOGIN_NOT_FOUND, "the link was used already");
  }
}

/**
 * What can happen to a sign-in: an identity provider says who the person is, the person presses a button, or signs what the sign-in is
 * for, or the program that started it comes for its session.
 */
export type LoginEvent = "identify" | "confirm" | "prove" | "refuse" | "collect";

/**
 * The rules of a sign-in as a pure function: the status that `event` leads to, or why it leads nowhere.
 *
 *     by mail        pending ────────────────────────── confirm ──► confirmed ── collect ──► collected
 *     at a provider  pending ── identify ──► identified ── confirm ──┤
 *     by signature   pending ──────────────────────────── prove ─────┘
 *                       └──── refuse ────────────┴──► refused          (all but the ends expire)
 */
export function next(
  login: Pick<Login, "status" | "method" | "expiresAt">,
  event: LoginEvent,
  now: number,
): LoginStatus | Failure {
  const { status } = login;
  if (status === "collected") return event === "collect" ? gone() : new LinkUsed();
  if (status === "refused") {
    return new Failure(ErrorReason.LOGIN_REFUSED, "the sign-in was refused by the person who was asked");
  }
  if (login.expiresAt <= now) {
    return new Failure(ErrorReason.LOGIN_EXPIRED, "the sign-in was not finished in time; start a new one");
  }
  switch (event) {
    case "identify":
      return status === "pending" && login.method === "oauth2" ? "identified" : new LinkUsed();
    case "confirm":
      return status === confirmableFrom(login) ? "confirmed" : new LinkUsed();
    case "prove":
      return status === "pending" && provenBySignature(login) ? "confirmed" : new LinkUsed();
    case "refuse":
      return status === "pending" || status === "identified" ? "refused" : new LinkUsed();
    case "collect":
      return status === "confirmed" ? "collected" : pending();
  }
}

/**
 * Who opens a mailed link has proven the mailbox by that; anybody may open the page that leads to a provider. Where a signature is the
 * proof, no button stands for it.
 */
function confirmableFrom(login: Pick<Login, "method">): LoginStatus | undefined {
  if (provenBySignature(login)) return undefined;
  return login.method === "email" ? "pending" : "identified";
}

/** What is signed names the sign-in: a signature says who it is and that they agree, at once. */
function provenBySignature({ method }: Pick<Login, "method">): boolean {
  return method === "wallet" || method === "passkey";
}

export function gone(): Failure {
  return new Failure(ErrorReason.LOGIN_NOT_FOUND, "no such sign-in, or its session was collected already");
}

/** Nothing has been decided yet. */
export function pending(): Failure {
  return new Failure(ErrorReason.LOGIN_PENDING, "nobody has confirmed the sign-in yet; ask again", {
    retryAfterMs: 1_000,
  });
}
