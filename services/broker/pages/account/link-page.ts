import { html } from "hono/html";

import { passkeysWorkAt } from "../../passkey/index.ts";
import { type Markup, page } from "../layout.ts";
import { PASSKEY_SCRIPT, passkeyForm } from "../passkey-form.ts";
import { methodForms } from "./method-form.ts";
import type { Way } from "./ways.ts";

/** Another way in to this account. A passkey is made right here. */
export function linkPage(ways: readonly Way[], formToken: string, publicUrl: string): Markup {
  const passkeys = passkeysWorkAt(publicUrl);
  const add = passkeyForm({
    options: "/account/link/passkey/options",
    finish: "/account/link/passkey/finish",
    fields: { form: formToken },
    label: "Add a passkey",
    beside: true,
    publicUrl,
    otherwise: "Allow it for this page, or link something else.",
  });
  return page({
    title: "Link another identity",
    ...(passkeys && { script: PASSKEY_SCRIPT }),
    body: html`<div class="card">
      <h1>Link another identity</h1>
      <p>
        It signs in to this account from then on, and gets you back in when you lose the others. Whoever has it has your
        account: link only what is yours alone.
      </p>
      ${methodForms(
        "/account/link",
        ways.filter(({ id }) => id !== "passkey"),
        formToken,
        passkeys ? add : "",
      )}
      <p class="soft after"><a href="/account">Not now</a></p>
    </div>`,
  });
}
