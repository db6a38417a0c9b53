import type { Secret } from "@agentkeys/lib/secret";

import { mailBody } from "./frame.ts";
import type { Mail } from "./mailer.ts";
import { unlinkable } from "./unlinkable.ts";

/** What the mail says of a change to an account. */
export interface NoticeFacts {
  kind: "machine" | "linked" | "unlinked" | "merged" | "frozen" | "unfrozen";
  /** What it was about; may have been chosen by a stranger. */
  subject: string;
  email: string;
  sourceAddress: string;
  occurredAt: number;
}

const words: Record<NoticeFacts["kind"], { title: string; label: string }> = {
  machine: { title: "A new machine signed in", label: "Machine" },
  linked: { title: "An identity was linked", label: "Identity" },
  unlinked: { title: "An identity was taken off", label: "Identity" },
  merged: { title: "Two accounts were merged", label: "Account" },
  frozen: { title: "The account was frozen", label: "By" },
  unfrozen: { title: "The account works again", label: "By" },
};

/** The mail that tells of it: the same in plain text and in HTML. */
export async function noticeMail(
  { kind, subject, email, sourceAddress, occurredAt }: NoticeFacts,
  link: Secret,
): Promise<Mail> {
  const { title, label } = words[kind];
  // A machine's name is anybody's choice; an identity was proven before it stands here, and is told as it is.
  const about = kind === "machine" ? unlinkable(subject) || "without a name" : subject;
  const rows: [string, string][] = [
    [label, about],
    ["From", sourceAddress],
    ["When", new Date(occurredAt).toUTCString()],
  ];
  const lines = rows.map(([name, value]) => `  ${name.padEnd(10)}${value}`).join("\n");
  const lead = `${title}: this is about the AgentKeys account that this address belongs to.`;
  const advice =
    "If it was you, there is nothing to do. If it was not, open the link and say so: that ends every session and freezes the account until its owner has looked at it.";
  return {
    to: email,
    subject: `AgentKeys: ${title.toLowerCase()}`,
    text: `${lead}\n\n${lines}\n\n${advice}\n\n  ${link.reveal()}\n\nOpening the link changes nothing: only the press of a button on the page does. It works for a week.\n`,
    html: await mailBody({
      title,
      lead: `This is about the AgentKeys account that this address belongs to.`,
      rows,
      button: { text: "This was not me", link },
      foot: `${advice} Opening the link changes nothing: only the press of a button on the page does. It works for a week.`,
    }),
  };
}
