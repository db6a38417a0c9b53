import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { isFresh, linkPasskey, PROOF_FOR_LINK_MS, stepUpByPasskey } from "../../account/index.ts";
import { changeCookie } from "../../browser/index.ts";
import {
  addPasskeyOptions,
  type SignedInBrowser,
  stepUpOptions,
  unknownPasskey,
  verifyAddedPasskey,
  verifyStepUp,
} from "../../passkey/index.ts";
import { answerJson } from "../passkey-steps.ts";
import { setAccountCookie } from "./account-cookie.ts";
import { pathWhen } from "./banners.ts";
import { isTokenOf, pathToProof, refuseFrozen, sessionOf, type SignedInVisit, type Visit } from "./door.ts";
import { returnPath } from "./return-path.ts";

/** What the script sends: the form's own fields, and what the passkey answered. */
type Fields = Record<string, unknown>;

/** A press with a passkey on a page of the account's, which goes through no page of the sign-in's: what is asked, and what is answered. */
export interface PasskeyPress {
  options: (visit: SignedInVisit) => Promise<object>;
  /** Where the script goes on to. */
  finish: (visit: SignedInVisit, fields: Fields) => Promise<{ next: string }>;
}

/** Proves anew who sits at this browser, by a passkey of the account's. */
export const proveByPress: PasskeyPress = {
  options: async ({ parts, session }) => {
    const get = await stepUpOptions(parts, browserOf(session));
    if (get === undefined) throw unknownPasskey();
    return { get };
  },
  finish: async ({ parts, session, c }, { answer, then }) => {
    const caller = c.env.info;
    const passkey = await verifyStepUp(parts, browserOf(session), { answer, caller });
    await stepUpByPasskey(parts, { passkey, session, caller });
    setAccountCookie(c, await changeCookie(parts, session.id));
    const path = returnPath(typeof then === "string" ? then : undefined);
    return { next: path === "/account" ? pathWhen("proven") : path };
  },
};

/** Makes a passkey in this browser, and links it to the account. */
export const addByPress: PasskeyPress = {
  options: async (visit) => {
    const { parts, session } = visit;
    refuseFrozen(visit);
    // Asked before anybody makes one; what counts is asked once more when it is linked.
    if (!isFresh(session, parts.clock(), PROOF_FOR_LINK_MS)) return { next: pathToProof("/account/link") };
    return { create: await addPasskeyOptions(parts, browserOf(session)) };
  },
  finish: async (visit, { answer }) => {
    const { parts, session, c } = visit;
    refuseFrozen(visit);
    const caller = c.env.info;
    const newPasskey = await verifyAddedPasskey(parts, browserOf(session), { answer, caller });
    await linkPasskey(parts, { newPasskey, session, caller });
    return { next: pathWhen("linked") };
  },
};

/** Takes what the script sends for somebody who is signed in: from a page of ours, and with the token that only this session's pages have. */
export function takePress(
  visit: Visit,
  answer: (visit: SignedInVisit, fields: Fields) => Promise<object>,
): Promise<Response> {
  const { parts, c } = visit;
  return answerJson(
    parts,
    c,
    async (fields) => {
      const session = await sessionOf(visit);
      if (session === undefined) return { next: "/account" };
      if (!isTokenOf(session, fields["form"])) {
        throw new Failure(
          ErrorReason.INVALID_REQUEST,
          "you have signed in anew since this page was opened: load it again",
        );
      }
      try {
        return await answer({ ...visit, session }, fields);
      } catch (error) {
        const stale = error instanceof Failure && error.reason === ErrorReason.FRESH_SIGN_IN_REQUIRED;
        if (stale) return { next: pathToProof("/account/link") };
        throw error;
      }
    },
    { needsSign: true },
  );
}

function browserOf({ id, anchor }: SignedInVisit["session"]): SignedInBrowser {
  return { sessionId: id, anchor };
}
