import { html } from "hono/html";

import type { Markup } from "./layout.ts";

/** Whoever shows one of these loads it. */
export const PASSKEY_SCRIPT = "/assets/passkey.js";

export interface PasskeyForm {
  /** Where the script asks what is to be signed, and where it brings the answer. */
  options: string;
  finish: string;
  /** What goes along with both, by name. */
  fields: Readonly<Record<string, string>>;
  /** What the button says. */
  label: string;
  /** Whether another button is the one that the page is about. */
  beside?: boolean;
  publicUrl: string;
  /** Said where no script runs: which other way there is. */
  otherwise: Markup | string;
}

/** One press with a passkey. Hidden until its script is there to run it; a browser that runs scripts does not show what is said instead. */
export function passkeyForm({
  options,
  finish,
  fields,
  label,
  beside = false,
  publicUrl,
  otherwise,
}: PasskeyForm): Markup {
  return html`<form hidden data-passkey data-options="${options}" data-finish="${finish}" data-origin="${publicUrl}">
      ${Object.entries(fields).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}" />`)}
      <button class="${beside ? "" : "go"}" type="submit">${label}</button>
      <p class="said" role="status"></p>
    </form>
    <noscript>
      <p class="note">A passkey needs JavaScript, which does not run here. ${otherwise}</p>
    </noscript>`;
}
