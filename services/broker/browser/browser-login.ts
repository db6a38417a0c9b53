import { SECOND } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { BROWSER_BINDING, gone, type HeldLogin, heldLogin, type Login, next } from "../login/index.ts";
import type { BrowserParts } from "./parts.ts";

type Held = Pick<HeldLogin, "loginId" | "loginSecret">;

/** Another replica may have taken the confirmation: how often the store is asked, whatever the bell says. */
const POLL_MS = SECOND;

/** The sign-in that this browser started, whatever for. @throws Failure LOGIN_NOT_FOUND, DPOP_INVALID */
export async function browserLogin({ logins }: Pick<BrowserParts, "logins">, held: Held): Promise<Login> {
  const login = await logins.find(held.loginId);
  if (login === undefined) throw gone();
  return heldLogin(logins, { ...held, dpopThumbprint: BROWSER_BINDING }, login.purpose);
}

/** Waits a while for the person's decision. `over` covers all that leads nowhere: refused, expired, collected, unknown. */
export async function watchLogin(
  parts: BrowserParts,
  held: Held,
  patienceMs: number,
): Promise<"waiting" | "confirmed" | "over"> {
  const { signal } = new AbortController();
  for (let patience = patienceMs; ; patience -= POLL_MS) {
    const login = await browserLogin(parts, held).catch(asFailure);
    const status = login instanceof Failure ? login : next(login, "collect", parts.clock());
    if (!(status instanceof Failure)) return "confirmed";
    if (status.reason !== ErrorReason.LOGIN_PENDING) return "over";
    if (patience <= 0 || !(await parts.bell.wait(held.loginId, Math.min(POLL_MS, patience), signal))) return "waiting";
  }
}

function asFailure(error: unknown): Failure {
  if (error instanceof Failure && error.reason !== ErrorReason.STORE_UNAVAILABLE) return error;
  throw error;
}
