import { isLoopback } from "@agentkeys/lib/settings/kinds";

import { Problem } from "../problem.ts";

/** Where mails are if the broker is one for development, which has no mail server. */
export function mailboxHint(brokerUrl: string): string[] {
  if (!isLoopback(new URL(brokerUrl).hostname)) return [];
  return [`(A broker for development sends no mails, but shows them at ${brokerUrl}/dev/mailbox.)`];
}

/** What a person with a passkey does, above the page's address. */
export const passkeyPageWords = ["Open this page in a browser that has your passkey, or is to make it:"];

/** What comes after `init`, in both forms that people read. */
export function nextSteps(hasRole: boolean): string[] {
  if (!hasRole) {
    return ["Next: set AGENTKEYS_AWS_ROLE_ARN to the IAM role for this wallet, then try `agentkeys creds`."];
  }
  return ["Next: `agentkeys exec -- COMMAND` runs an agent with credentials, `agentkeys daemon` serves them to many."];
}

/** What the owner of a frozen account does next. */
export const frozenWords = [
  'The account is frozen, since somebody pressed "this was not me". Until you unfreeze it, nothing gets credentials.',
  "Look at it with `agentkeys events` and `agentkeys identities`, take off what is not yours with `agentkeys unlink`,",
  "then run `agentkeys unfreeze`, and `agentkeys init` once more.",
];

/** Nobody can be asked. */
export function noEmail(): Problem {
  return new Problem("USAGE", "usage", "An e-mail address is needed, and there is nobody to ask for it.", {
    remedy: "Run `agentkeys init --email you@example.com`.",
  });
}
