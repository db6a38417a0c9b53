import { html } from "hono/html";

import type { Identity } from "../../identity/index.ts";
import type { SessionRecord } from "../../token/index.ts";
import type { Markup } from "../layout.ts";

/** Says nothing that the words beside it do not: nobody who cannot see it misses anything. */
function icon(shape: Markup): Markup {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">${shape}</svg>`;
}

const key = icon(html`<circle cx="8" cy="12" r="4.5" /><path d="M12.5 12H21v4M17 12v3" />`);
const wallet = icon(html`<path d="M4 7h14a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2zm0 0 11-3v3M16 13h.5" />`);

const identities: Record<Identity["type"], Markup> = {
  email: icon(html`<rect x="3" y="5" width="18" height="14" rx="2" /><path d="m3.5 7 8.5 6 8.5-6" />`),
  oauth2: icon(html`<circle cx="12" cy="8" r="3.5" /><path d="M5 20a7 7 0 0 1 14 0" />`),
  evm: wallet,
  passkey: key,
};

const sessions: Record<SessionRecord["kind"], Markup> = {
  identity: icon(html`<rect x="3" y="4" width="18" height="16" rx="2" /><path d="m7 9 3 3-3 3m6 0h4" />`),
  browser: icon(html`<rect x="3" y="4" width="18" height="16" rx="2" /><path d="M3 9h18M6 6.5h.5" />`),
  wallet,
};

export const walletIcon = wallet;

export function identityIcon({ type }: Identity): Markup {
  return identities[type];
}

export function sessionIcon({ kind }: SessionRecord): Markup {
  return sessions[kind];
}
