import { html } from "hono/html";

import { type Markup, page } from "../layout.ts";
import { methodForms } from "./method-form.ts";
import type { Way } from "./ways.ts";

/** Another way in to this account. */
export function linkPage(ways: readonly Way[], formToken: string): Markup {
  return page({
    title: "Link another identity",
    body: html`<div class="card">
      <h1>Link another identity</h1>
      <p>
        It signs in to this account from then on, and gets you back in when you lose the others. Whoever has it has your
        account: link only what is yours alone.
      </p>
      ${methodForms("/account/link", ways, formToken)}
      <p class="soft after"><a href="/account">Not now</a></p>
    </div>`,
  });
}
