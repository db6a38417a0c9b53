import type { Clock } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";

import { type Access, accessFor } from "./access.ts";
import { signInWithWallet, type WalletSession } from "./enrolment.ts";
import type { SessionKeeper } from "./identity-session.ts";
import type { KeyServiceRoute } from "./key-service.ts";
import { Problem, problemOf } from "./problem.ts";
import type { Enrolment } from "./state/index.ts";

/** Does work in the name of this machine's wallet. */
export interface WalletAccess {
  /**
   * Runs `work` under a wallet session, for which the wallet signs where there is none that still works. A session that turns out to
   * have been ended is replaced, and `work` runs again. @throws Problem
   */
  use<T>(work: (access: Access, session: WalletSession) => Promise<T>): Promise<T>;
}

/** A session that ends within this time is not begun with. */
const SPARE_MS = 60_000;

export function createWalletAccess(o: {
  sessions: SessionKeeper;
  keyService: KeyServiceRoute;
  clock: Clock;
  random: RandomBytes;
}): WalletAccess {
  let held: { session: WalletSession; signIn: string } | undefined;

  const heldFor = (enrolment: Enrolment): WalletSession | undefined =>
    held?.signIn === signInOf(enrolment) && o.clock() < held.session.expiresAt - SPARE_MS ? held.session : undefined;

  return {
    async use(work) {
      for (let second = false; ; second = true) {
        const enrolment = await o.sessions.current();
        const access = await accessFor(enrolment, o);
        const kept = heldFor(enrolment);
        try {
          const session = kept ?? (await signInWithWallet(access, addressOf(enrolment)));
          held = { session, signIn: signInOf(enrolment) };
          return await work(access, session);
        } catch (error) {
          const problem = problemOf(error);
          if (problem.kind !== "sign-in") throw problem;
          held = undefined;
          // Worth a second try: the wallet's session had been ended with the sign-in that it came from, or another process
          // renewed the identity session, which ended the token that this one had just read.
          const mayHelp = kept !== undefined || tokenOf(await o.sessions.current()) !== tokenOf(enrolment);
          if (second || !mayHelp) throw problem;
        }
      }
    },
  };
}

/** Tells one sign-in from another: each has a device key of its own, which renewals keep. */
export function signInOf({ omniAccount, deviceKey }: Enrolment): string {
  return `${omniAccount} ${deviceKey.reveal().x ?? ""}`;
}

function tokenOf({ session }: Enrolment): string {
  return session.token.reveal();
}

function addressOf({ walletAddress }: Enrolment): NonNullable<Enrolment["walletAddress"]> {
  if (walletAddress !== undefined) return walletAddress;
  throw new Problem("NOT_ENROLLED", "sign-in", "This machine is signed in, but its wallet was not linked.", {
    remedy: "Run `agentkeys init` to go on where it stopped.",
  });
}
