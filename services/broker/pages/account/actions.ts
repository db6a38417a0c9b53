import { parseOmniAccount } from "@agentkeys/lib/account";
import { parseEvmAddress } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import {
  endOtherSessions,
  endSession,
  isFresh,
  PROOF_FOR_UNLINK_MS,
  retireWallet,
  unfreezeAccount,
  unlinkIdentity,
} from "../../account/index.ts";
import { type Done, pathWhen } from "./banners.ts";
import { confirmPage, type Question } from "./confirm-page.ts";
import { explaining, pathToProof, refuseFrozen, type SignedInVisit } from "./door.ts";
import { nameOf } from "./overview-page.ts";
import { address, day, moment, wordsFor } from "./shown.ts";
import { signInsOf } from "./sign-ins.ts";
import { waysOf } from "./ways.ts";

/** Something that a person does to the account: a question at an address, and the press that answers it at the same one. */
export interface Action {
  path: string;
  /** @throws Failure where there is nothing to ask about */
  ask(visit: SignedInVisit, target: string): Promise<Question>;
  perform(visit: SignedInVisit, target: string): Promise<unknown>;
  done: Done;
}

export const actions: readonly Action[] = [
  {
    path: "/account/end/:target",
    ask: async ({ parts, session }, target) => {
      const live = await parts.sessions.listLive(session.anchor, parts.clock());
      const latest = await parts.sessions.latest(target);
      const found = signInsOf(live).find(({ root }) => root.sessionId === latest?.sessionId);
      if (found === undefined) throw ended();
      const { root } = found;
      return {
        title: "End this sign-in?",
        facts: [
          ["Machine", nameOf(root)],
          ["From", root.sourceAddress],
          ["Signed in", moment(root.signedInAt)],
        ],
        consequence:
          "It and all that came from it stop working everywhere within 10 seconds. Credentials that a cloud gave out before stay good until they expire.",
        yes: "End it",
        takesAway: true,
      };
    },
    perform: ({ parts, session, c }, target) => endSession(parts, { target, session, caller: c.env.info }),
    done: "ended",
  },
  {
    path: "/account/end-others",
    ask: async ({ parts, session }) => {
      const live = signInsOf(await parts.sessions.listLive(session.anchor, parts.clock()));
      const others = live.filter(({ root }) => root.sessionId !== session.id).length;
      return {
        title: "End all others?",
        facts: [["Sign-ins", String(others)]],
        consequence: "Every machine and browser but this one is signed out, everywhere within 10 seconds.",
        yes: "End all others",
        takesAway: true,
      };
    },
    perform: ({ parts, session, c }) => endOtherSessions(parts, { session, caller: c.env.info }),
    done: "ended",
  },
  {
    path: "/account/unlink/:target",
    ask: async ({ parts, session }, target) => {
      const all = await parts.identities.listOf(session.anchor);
      const identity = all.find(({ omniAccount }) => omniAccount === target);
      if (identity === undefined) {
        throw new Failure(ErrorReason.IDENTITY_NOT_FOUND, "there is no such identity in this account");
      }
      const { name, kind } = wordsFor(identity, waysOf(parts));
      const here = identity.omniAccount === session.identity ? " This browser is one of them." : "";
      return {
        title: "Take off this way to sign in?",
        facts: [
          [kind, name],
          ["Last used", moment(identity.lastUsedAt)],
        ],
        consequence: `It signs in to this account no more, and what it has signed in ends at once.${here} The account's other mailboxes are told, and so is this one.`,
        yes: "Take it off",
        takesAway: true,
      };
    },
    perform: ({ parts, session, c }, target) =>
      unlinkIdentity(parts, { identity: parseOmniAccount(target), session, caller: c.env.info }),
    done: "unlinked",
  },
  {
    path: "/account/retire/:target",
    ask: async (visit, target) => {
      refuseFrozen(visit);
      const { parts, session } = visit;
      const link = (await parts.wallets.listOf(session.anchor)).find((each) => each.address === target);
      if (link?.verifiedAt === undefined || link.retiredAt !== undefined) throw noWallet();
      return {
        title: "Retire this wallet?",
        facts: [
          ["Wallet", address(link.address)],
          ["Linked", day(link.verifiedAt)],
        ],
        consequence:
          "Agents get no credentials by it any more, and its sessions end everywhere within 10 seconds; credentials that a cloud gave out before stay good until they expire. It stays this account's: nobody else can ever link it, and what it owns is untouched. Agents come back to it when a machine signs in anew with agentkeys init.",
        yes: "Retire it",
        takesAway: true,
      };
    },
    perform: (visit, target) => {
      refuseFrozen(visit);
      const { parts, session, c } = visit;
      return retireWallet(parts, { address: parseEvmAddress(target), session, caller: c.env.info });
    },
    done: "retired",
  },
  {
    path: "/account/unfreeze",
    ask: ({ session }) =>
      Promise.resolve({
        title: "Put the account back to work?",
        facts: session.frozenAt === undefined ? [] : [["Frozen", moment(session.frozenAt)]],
        consequence:
          "Whoever can sign in gets credentials again. Take off what is not yours first: an identity that was reported stays suspended until you do.",
        yes: "Put it back to work",
        takesAway: false,
      }),
    perform: ({ parts, session, c }) => unfreezeAccount(parts, { session, caller: c.env.info }),
    done: "unfrozen",
  },
];

/** Shows the question to whoever has proven lately who they are; others are led to where they do, and back. */
export async function ask(action: Action, visit: SignedInVisit): Promise<Response> {
  const { parts, session, c } = visit;
  const question = await action.ask(visit, c.req.param("target") ?? "");
  if (!isFresh(session, parts.clock(), PROOF_FOR_UNLINK_MS)) return c.redirect(pathToProof(c.req.path), 303);
  return c.html(confirmPage(question, c.req.path, session.formToken));
}

/** The press. The rules are the domain's; it has the last word on how fresh the proof is. */
export async function perform(action: Action, visit: SignedInVisit): Promise<Response> {
  const { c } = visit;
  return explaining(
    visit,
    async () => {
      await action.perform(visit, c.req.param("target") ?? "");
      return c.redirect(pathWhen(action.done), 303);
    },
    c.req.path,
  );
}

function ended(): Failure {
  return new Failure(
    ErrorReason.SESSION_NOT_FOUND,
    "there is no such sign-in in this account, or it has ended already",
  );
}

function noWallet(): Failure {
  return new Failure(
    ErrorReason.WALLET_NOT_LINKED,
    "no wallet of this account has this address, or it is retired already",
  );
}
