import { MINUTE } from "@agentkeys/lib/clock";
import type { Secret } from "@agentkeys/lib/secret";

import { mailBody } from "./frame.ts";
import type { Mail } from "./mailer.ts";
import { unlinkable } from "./unlinkable.ts";

/** What the mail says about the sign-in. */
export interface SignInFacts {
  /** What the person agrees to by pressing the button. */
  purpose: "sign-in" | "link" | "step-up";
  /** Where the code is shown. */
  screen: "terminal" | "other page";
  email: string;
  userCode: string;
  /** Chosen by whoever started the sign-in; empty: unknown. */
  deviceName: string;
  sourceAddress: string;
  createdAt: number;
  expiresAt: number;
}

/** What the mail says, by what it is for: who gets what by the press of the button. */
const words: Record<SignInFacts["purpose"], { subject: string; lead: string; button: string; press: string }> = {
  "sign-in": {
    subject: "Sign in to AgentKeys",
    lead: "Somebody is signing in to AgentKeys with this address.",
    button: "Look at the sign-in",
    press: "signs in",
  },
  link: {
    subject: "Link this address to an AgentKeys account",
    lead: "Somebody wants to add this address to their AgentKeys account. If that account is not yours, say no: they could take over an account that this address already has.",
    button: "Look at the request",
    press: "links the address",
  },
  "step-up": {
    subject: "Show AgentKeys that it is you",
    lead: "Somebody who is signed in to your AgentKeys account is about to change it. This is no sign-in.",
    button: "Look at the request",
    press: "lets them go on",
  },
};

/** The mail that carries the link of a sign-in, a link or a step-up: the same in plain text and in HTML. */
export async function signInMail(facts: SignInFacts, link: Secret): Promise<Mail> {
  const minutes = Math.round((facts.expiresAt - facts.createdAt) / MINUTE);
  const device = facts.deviceName === "" ? "a machine without a name" : unlinkable(facts.deviceName);
  const when = new Date(facts.createdAt).toUTCString();
  const label = facts.screen === "terminal" ? "Machine" : "Browser";
  const { subject, lead, button, press } = words[facts.purpose];
  return {
    to: facts.email,
    subject: `${subject}: ${facts.userCode}`,
    text: `${lead}

  Code      ${facts.userCode}
  ${label.padEnd(10)}${device}
  From      ${facts.sourceAddress}
  When      ${when}

If that is you, and your ${facts.screen} shows the same code, open this link within ${minutes} minutes and press the button there:

  ${link.reveal()}

If it is not you, do nothing, or open the link and say so. Nothing happens without the press of that button.
`,
    html: await mailBody({
      title: subject,
      lead: `${lead} If it is you, your ${facts.screen} shows this code:`,
      code: facts.userCode,
      rows: [
        [label, device],
        ["From", facts.sourceAddress],
        ["When", when],
      ],
      button: { text: button, link },
      foot: `The link works for ${minutes} minutes. Opening it changes nothing: only the press of a button on the page ${press}. If it is not you, do nothing, or open the link and say so.`,
    }),
  };
}
