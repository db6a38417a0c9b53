import type { Context } from "hono";
import { getCookie, setCookie } from "hono/cookie";

import type { RandomBytes } from "@agentkeys/lib/random";
import { randomSecret } from "@agentkeys/lib/random";

const NAME = "agentkeys-browser";
const LIFE_SECONDS = 3600;

/**
 * The secret of this browser, which ties a way to an identity provider to the browser that set out. It names nobody. `Lax`, since the
 * way back starts at the provider; `__Host-` keeps other hosts and plain HTTP from setting it.
 */
export function browserSecret(c: Context): string | undefined {
  const value = getCookie(c, NAME, "host");
  return value !== undefined && /^[A-Za-z0-9_-]{43}$/.test(value) ? value : undefined;
}

/** The browser's secret, made and handed to it where it has none. */
export function ensureBrowserSecret(c: Context, random: RandomBytes): string {
  const secret = browserSecret(c) ?? randomSecret(random);
  setCookie(c, NAME, secret, {
    prefix: "host",
    secure: true,
    path: "/",
    httpOnly: true,
    sameSite: "Lax",
    maxAge: LIFE_SECONDS,
  });
  return secret;
}
