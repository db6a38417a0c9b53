import type { Context } from "hono";
import { getCookie, setCookie } from "hono/cookie";

import type { Secret } from "@agentkeys/lib/secret";

import { BROWSER_LIFE_MS } from "../../browser/index.ts";

const NAME = "agentkeys-account";

/** The cookie of a browser that is signed in to the account's page. It is no token: no RPC takes it. */
export function accountCookie(c: Context): string | undefined {
  const value = getCookie(c, NAME, "host");
  return value !== undefined && /^[A-Za-z0-9_-]{43}$/.test(value) ? value : undefined;
}

/** `Strict`: it comes along from no other site, not even by a link. The store ends it long before the browser would. */
export function setAccountCookie(c: Context, cookie: Secret): void {
  set(c, cookie.reveal(), BROWSER_LIFE_MS / 1000);
}

export function clearAccountCookie(c: Context): void {
  set(c, "", 0);
}

function set(c: Context, value: string, maxAge: number): void {
  setCookie(c, NAME, value, { prefix: "host", secure: true, path: "/", httpOnly: true, sameSite: "Strict", maxAge });
}
