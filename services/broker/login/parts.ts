import type { Clock } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";

import type { AuditStore } from "../audit/index.ts";
import type { IdentityStore } from "../identity/index.ts";
import type { Limits } from "../limits/index.ts";
import type { SessionIssuer, SessionStore } from "../token/index.ts";
import type { Bell } from "./bell.ts";
import type { LoginStore } from "./store.ts";

/** What the steps of a sign-in are made of. */
export interface LoginParts {
  logins: LoginStore;
  transaction: <T>(
    work: (tx: {
      logins: LoginStore;
      identities: IdentityStore;
      sessions: SessionStore;
      audit: AuditStore;
    }) => Promise<T>,
  ) => Promise<T>;
  limits: Limits;
  sessionIssuer: SessionIssuer;
  bell: Bell;
  clientId: string;
  publicUrl: () => string;
  clock: Clock;
  random: RandomBytes;
}
