import { html } from "hono/html";

import type { Identity } from "../../identity/index.ts";
import { type Markup, page } from "../layout.ts";
import { hidden } from "./method-form.ts";
import { wordsFor } from "./shown.ts";
import type { Way } from "./ways.ts";

export interface ProvePageOptions {
  identities: readonly Identity[];
  ways: readonly Way[];
  then: string;
  formToken: string;
}

/** Before something that cannot be taken back: a button for each identity that somebody can prove in this broker. */
export function provePage({ identities, ways, then, formToken }: ProvePageOptions): Markup {
  const provable = identities.filter(
    (identity) => identity.suspendedAt === undefined && ways.some((way) => way.proves(identity)),
  );
  return page({
    title: "Show that it is you",
    body: html`<div class="card">
      <h1>Show that it is you</h1>
      <p>
        What you are about to do changes who gets in. It needs a proof from the last minutes that you are the owner, and not
        somebody who found this browser open.
      </p>
      <div class="stack">
        ${provable.map((identity) => {
          const { name, kind } = wordsFor(identity, ways);
          return html`<form method="post" action="/account/prove">
            ${hidden("form", formToken)} ${hidden("identity", identity.omniAccount)} ${hidden("then", then)}
            <button type="submit">
              ${identity.type === "email" ? html`Send a link to ${name}` : html`Go on with ${kind} (${name})`}
            </button>
          </form>`;
        })}
      </div>
      <p class="soft after"><a href="/account">Not now</a></p>
    </div>`,
  });
}
