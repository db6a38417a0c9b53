import { html } from "hono/html";

import type { Identity } from "../../identity/index.ts";
import { type Markup, page } from "../layout.ts";
import { PASSKEY_SCRIPT, passkeyForm } from "../passkey-form.ts";
import { hidden } from "./method-form.ts";
import { wordsFor } from "./shown.ts";
import type { Way } from "./ways.ts";

export interface ProvePageOptions {
  identities: readonly Identity[];
  ways: readonly Way[];
  then: string;
  formToken: string;
  publicUrl: string;
}

/** Before something that cannot be taken back: one press with a passkey, or a button for each other identity that can be proven here. */
export function provePage({ identities, ways, then, formToken, publicUrl }: ProvePageOptions): Markup {
  const provable = identities.filter(
    (identity) => identity.suspendedAt === undefined && ways.some((way) => way.proves(identity)),
  );
  const others = provable.filter(({ type }) => type !== "passkey");
  const passkeys = provable.some(({ type }) => type === "passkey");
  const press = passkeyForm({
    options: "/account/prove/passkey/options",
    finish: "/account/prove/passkey/finish",
    fields: { form: formToken, then },
    label: "Use my passkey",
    publicUrl,
    otherwise: "Allow it for this page, or take another way.",
  });
  return page({
    title: "Show that it is you",
    ...(passkeys && { script: PASSKEY_SCRIPT }),
    body: html`<div class="card">
      <h1>Show that it is you</h1>
      <p>
        What you are about to do changes who gets in. It needs a proof from the last minutes that you are the owner, and not
        somebody who found this browser open.
      </p>
      <div class="stack">
        ${passkeys ? press : ""}
        ${others.map((identity) => {
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
