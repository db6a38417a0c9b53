import { html } from "hono/html";

import { isForBrowser, type Login, type LoginPurpose } from "../login/index.ts";
import type { Markup } from "./layout.ts";

/** What a person is told that they agree to: each purpose says what whoever started it will be able to do. */
export interface PurposeWords {
  title: string;
  /** Above the code. */
  question: string;
  /** What somebody who was tricked into opening the page has to know first. */
  warning?: string;
  /** What the first button says. */
  yes: string;
  /** What agreeing does: goes on from "Yes" or "Signing". */
  consequence: string;
  done: { title: string; text(machine: Markup | string, who: Markup): Markup };
}

export function wordsOf(login: Pick<Login, "purpose" | "dpopThumbprint" | "method">): PurposeWords {
  const browser = isForBrowser(login);
  // A mail is read beside the page that waits for it; the other ways go on in its place.
  const shower =
    login.method === "email" ? "Does your other page show this code?" : "Is this the code that you were shown?";
  const question = browser ? shower : "Does your terminal show this code?";
  if (login.purpose === "sign-in") return { ...(browser ? signInBrowser : signInMachine), question };
  return { ...others[login.purpose], question };
}

type Words = Omit<PurposeWords, "question">;

const signInMachine: Words = {
  title: "Confirm the sign-in",
  yes: "Yes, sign it in",
  consequence: "gives the agents on that machine short-lived AWS credentials in your name.",
  done: { title: "Signed in", text: (machine, who) => html`${machine} is signed in as ${who}.` },
};

const signInBrowser: Words = {
  title: "Confirm the sign-in",
  yes: "Yes, sign it in",
  consequence:
    "opens your account's page in that browser: whoever sits there sees your identities, wallets and machines, and all that happened.",
  done: { title: "Signed in", text: (machine, who) => html`${machine} is signed in to the account's page as ${who}.` },
};

const others: Record<Exclude<LoginPurpose, "sign-in">, Words> = {
  link: {
    title: "Confirm the link",
    warning:
      "This is no sign-in. Whoever started it wants to add this identity of yours to the account that they are signed in to. Unless that account is yours, say no: they could take over the account that it opens now, with everything in it, and you would get into theirs instead.",
    yes: "Yes, link it",
    consequence: "links it, or lets them merge the account that it has.",
    done: {
      title: "Confirmed",
      text: (machine, who) => html`${who} may be linked to the account that ${machine} is signed in to.`,
    },
  },
  "step-up": {
    title: "Confirm that it is you",
    warning:
      "This is no sign-in. Somebody who is signed in to your account is about to change it, and was asked to show that they are you. If you are not in the middle of that, say no, and look at your account.",
    yes: "Yes, it is me",
    consequence:
      "lets whoever started this link identities and take them off, merge accounts, lift a freeze and end sign-ins, for the next 10 minutes.",
    done: { title: "Confirmed", text: (machine, who) => html`${machine} is known to be yours, ${who}.` },
  },
};
