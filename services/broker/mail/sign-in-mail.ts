import { MINUTE } from "@agentkeys/lib/clock";
import type { Secret } from "@agentkeys/lib/secret";

import { mailBody } from "./frame.ts";
import type { Mail } from "./mailer.ts";
import { unlinkable } from "./unlinkable.ts";

/** What the mail says about the sign-in. */
export interface SignInFacts {
  email: string;
  userCode: string;
  /** Chosen by whoever started the sign-in; empty: unknown. */
  deviceName: string;
  sourceAddress: string;
  createdAt: number;
  expiresAt: number;
}

/** The mail that carries a sign-in link: the same in plain text and in HTML. */
export async function signInMail(facts: SignInFacts, link: Secret): Promise<Mail> {
  const minutes = Math.round((facts.expiresAt - facts.createdAt) / MINUTE);
  const device = facts.deviceName === "" ? "a machine without a name" : unlinkable(facts.deviceName);
  const when = new Date(facts.createdAt).toUTCString();
  return {
    to: facts.email,
    subject: `Sign in to AgentKeys: ${facts.userCode}`,
    text: `Somebody is signing in to AgentKeys with this address.

  Code      ${facts.userCode}
  Machine   ${device}
  From      ${facts.sourceAddress}
  When      ${when}

If that is you, and your terminal shows the same code, open this link within ${minutes} minutes and press the button there:

  ${link.reveal()}

If it is not you, do nothing, or open the link and say so. Nobody gets in without the press of that button.
`,
    html: await mailBody({
      title: "Sign in to AgentKeys",
      lead: "Somebody is signing in with this address. If that is you, your terminal shows this code:",
      code: facts.userCode,
      rows: [
        ["Machine", device],
        ["From", facts.sourceAddress],
        ["When", when],
      ],
      button: { text: "Look at the sign-in", link },
      foot: `The link works for ${minutes} minutes. Opening it changes nothing: only the press of a button on the page signs in. If it is not you, do nothing, or open the link and say so.`,
    }),
  };
}
