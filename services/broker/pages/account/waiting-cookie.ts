import type { Context } from "hono";
import { getCookie, setCookie } from "hono/cookie";

import { LOGIN_LIFE_MS } from "../../login/index.ts";
import { returnPath } from "./return-path.ts";

/** A sign-in that this browser started and waits for: it holds the secrets as any other program that starts one does. */
export interface WaitingLogin {
  loginId: string;
  loginSecret: string;
  /** Of the page that leads to a provider; empty where a mail carries it. */
  linkToken: string;
  /** Where the person goes afterwards. */
  then: string;
}

const NAME = "agentkeys-waiting";
/** One for each tab that somebody may have open; the oldest makes room. */
const MAX_WAITING = 4;
const shape = /^([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})\.((?:[A-Za-z0-9_-]{43})?)\.([\w/-]+)$/;

/** The sign-ins that this browser waits for. */
export function waitingLogins(c: Context): WaitingLogin[] {
  const entries = (getCookie(c, NAME, "host") ?? "").split("~").slice(0, MAX_WAITING);
  return entries.flatMap((entry) => {
    const [, loginId = "", loginSecret = "", linkToken = "", then = ""] = shape.exec(entry) ?? [];
    return loginId === "" ? [] : [{ loginId, loginSecret, linkToken, then: returnPath(then) }];
  });
}

export function waitingLogin(c: Context, loginId: string): WaitingLogin | undefined {
  return waitingLogins(c).find((each) => each.loginId === loginId);
}

/** Hands the browser the secrets of a sign-in that it started: `HttpOnly`, so that no script has them, and `Strict`. */
export function waitFor(c: Context, login: WaitingLogin): void {
  keep(c, [login, ...waitingLogins(c)].slice(0, MAX_WAITING));
}

export function waitNoMoreFor(c: Context, loginId: string): void {
  keep(
    c,
    waitingLogins(c).filter((each) => each.loginId !== loginId),
  );
}

/** Forgets all others. */
export function waitOnlyFor(c: Context, loginIds: readonly string[]): void {
  keep(
    c,
    waitingLogins(c).filter(({ loginId }) => loginIds.includes(loginId)),
  );
}

function keep(c: Context, logins: readonly WaitingLogin[]): void {
  const value = logins.map((each) => [each.loginId, each.loginSecret, each.linkToken, each.then].join(".")).join("~");
  setCookie(c, NAME, value, {
    prefix: "host",
    secure: true,
    path: "/",
    httpOnly: true,
    sameSite: "Strict",
    maxAge: logins.length === 0 ? 0 : LOGIN_LIFE_MS / 1000,
  });
}
