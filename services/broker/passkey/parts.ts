import type { Clock } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";

import type { AuditStore, Caller } from "../audit/index.ts";
import type { IdentityStore } from "../identity/index.ts";
import type { Limits } from "../limits/index.ts";
import type { PasskeyChallengeStore, PasskeyStore } from "./store.ts";

/** What a ceremony with a passkey is made of. */
export interface PasskeyParts {
  passkeys: PasskeyStore;
  passkeyChallenges: PasskeyChallengeStore;
  identities: IdentityStore;
  audit: AuditStore;
  limits: Limits;
  publicUrl: () => string;
  clock: Clock;
  random: RandomBytes;
}

/** What a browser brought back, and from where. */
export interface PasskeyAnswer {
  /** The JSON of a PublicKeyCredential (WebAuthn Level 3 section 5.1), as it came. */
  answer: unknown;
  caller: Caller;
}
