import { html } from "hono/html";

import type { AuditAction, RecordedEvent } from "../../audit/index.ts";
import type { Identity } from "../../identity/index.ts";
import type { Markup } from "../layout.ts";
import { address, moment, shown, wordsFor } from "./shown.ts";
import type { Way } from "./ways.ts";

type Words = (subject: Markup) => Markup | string;

/** What happened, told to its owner. */
const words: Record<AuditAction, Words> = {
  "login.started": (who) => html`A sign-in as ${who} was started`,
  "login.confirmed": (who) => html`A sign-in as ${who} was confirmed`,
  "login.refused": (who) => html`A sign-in as ${who} was refused`,
  "login.collected": (who) => html`Signed in as ${who}`,
  "identity.linked": (who) => html`${who} was linked`,
  "identity.unlinked": (who) => html`${who} was taken off`,
  "identity.proven": (who) => html`Shown anew to be ${who}`,
  "passkey.refused": () => "A passkey was refused",
  "account.merged": () => "Another account was merged into this one",
  "account.frozen": (who) => html`${who} said “this was not me”: everything was stopped`,
  "account.unfrozen": (who) => html`${who} put the account back to work`,
  "session.renewed": () => "A machine stayed signed in",
  "session.revoked": () => "A session was ended",
  "wallet.claimed": (wallet) => html`Wallet ${wallet} was claimed`,
  "challenge.started": (wallet) => html`Wallet ${wallet} was asked to sign`,
  "wallet.verified": (wallet) => html`Wallet ${wallet} signed`,
  "wallet.retired": (wallet) => html`Wallet ${wallet} was taken out of use`,
  "wallet.restored": (wallet) => html`Wallet ${wallet} was taken back into use`,
  "oidc.minted": (audience) => html`A token for ${audience} was made`,
  "call.refused": (call) => html`The call ${call} was refused`,
};

/** What an owner's eye should stop at. */
const alarming = new Set<AuditAction>(["login.refused", "account.frozen", "account.merged", "identity.unlinked"]);

/** By what the account's people know its identities. */
export interface Names {
  identities: readonly Identity[];
  ways: readonly Way[];
}

/** A page of the account's history, as rows. */
export function eventRows(events: readonly RecordedEvent[], names: Names): Markup {
  return html`<ol class="rows events">
    ${events.map(
      (event) =>
        html`<li class="${alarming.has(event.action) || event.outcome !== "ok" ? "bad" : ""}">
          <span>${words[event.action](subjectOf(event, names))}${event.outcome === "ok" ? "" : refusal(event.outcome)}</span>
          <span class="soft">${moment(event.occurredAt)} from ${event.sourceAddress}</span>
        </li>`,
    )}
  </ol>`;
}

/** The name of an ErrorReason as words. */
function refusal(outcome: string): Markup {
  return html`<span class="chip bad">${outcome.toLowerCase().replaceAll("_", " ")}</span>`;
}

function subjectOf({ subject }: RecordedEvent, { identities, ways }: Names): Markup {
  const identity = identities.find(({ value }) => value === subject);
  if (identity !== undefined) {
    const { name, kind } = wordsFor(identity, ways);
    // A provider may call somebody what another identity is called.
    return identity.type === "oauth2" ? html`${name} (${kind})` : name;
  }
  if (/^0x[0-9a-f]{40}$/.test(subject)) return address(subject);
  // An identity of a provider's that is in the account no more: what the provider knows it by.
  const bar = subject.indexOf("|");
  return shown(/^https?:\/\//.test(subject) && bar > 0 ? subject.slice(bar + 1) : subject);
}
