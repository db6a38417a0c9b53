import { html } from "hono/html";

import type { MergeOffer } from "../../account/index.ts";
import type { WalletLink } from "../../wallet/index.ts";
import { type Markup, page } from "../layout.ts";
import { identityIcon, walletIcon } from "./icons.ts";
import { hidden } from "./method-form.ts";
import { address, moment, wordsFor } from "./shown.ts";
import type { Way } from "./ways.ts";

export interface MergePageOptions {
  offer: MergeOffer;
  loginId: string;
  ways: readonly Way[];
  formToken: string;
}

/** Two accounts, what each has, and the choice: nothing is lost without having been shown and agreed to. */
export function mergePage({ offer, loginId, ways, formToken }: MergePageOptions): Markup {
  const action = `/account/merge/${loginId}`;
  return page({
    title: "Merge two accounts?",
    wide: true,
    body: html`<div class="card">
        <h1>That identity has an account of its own</h1>
        <p>
          You can merge the two: the account that you are signed in to is kept, the other one ends. That cannot be undone. Or
          leave both as they are; then the identity stays where it is.
        </p>
      </div>
      <div class="two">
      <section class="card" aria-labelledby="kept">
        <h2 id="kept">This account is kept</h2>
        <p>What is in it stays as it is, and so do its machines. Its wallets:</p>
        ${wallets(offer.keptWallets, "It has no wallet.")}
      </section>
      <section class="card" aria-labelledby="ended">
        <h2 id="ended">The other account ends</h2>
        <p>Its machines are signed out. Whoever signs in with these gets to the account that is kept:</p>
        <ul class="rows">
          ${offer.endedIdentities.map((identity) => {
            const { name, kind } = wordsFor(identity, ways);
            return html`<li>
              ${identityIcon(identity)}
              <div class="what"><span class="name">${name}</span><span class="soft">${kind}</span></div>
            </li>`;
          })}
        </ul>
        <p class="after">Its wallets come along. One that the key service derived for it nobody can use any more, and nothing that a cloud's policies allow it:</p>
        ${wallets(offer.endedWallets, "It has no wallet.")}
      </section>
      </div>
      <section class="card" aria-label="Your choice">
        <form id="merge" method="post" action="${action}">
          ${hidden("form", formToken)} ${hidden("offer", offer.offerId)}
          <label class="check">
            <input type="checkbox" name="agreed" value="yes" required />
            <span>I have seen which account ends, and that its machines are signed out and its derived wallets are lost.</span>
          </label>
        </form>
        <form id="apart" method="post" action="${action}/refuse">${hidden("form", formToken)}</form>
        <div class="choices">
          <button class="stop" type="submit" form="merge">Merge the two accounts</button>
          <button type="submit" form="apart">No, leave both as they are</button>
        </div>
        <p class="soft">You can decide until ${moment(offer.expiresAt)}.</p>
      </section>`,
  });
}

function wallets(all: readonly WalletLink[], none: string): Markup {
  const proven = all.filter(({ verifiedAt }) => verifiedAt !== undefined);
  if (proven.length === 0) return html`<p class="soft">${none}</p>`;
  return html`<ul class="rows">
    ${proven.map((link) => html`<li>${walletIcon}<div class="what">${address(link.address)}</div></li>`)}
  </ul>`;
}
