import { html } from "hono/html";

import type { Markup } from "../layout.ts";

/** What was done, by the word that stands in the address afterwards: an address can make us say nothing else. */
const done = {
  linked: "Linked: it signs in to this account now.",
  proven: "Thank you. It counts for some minutes.",
  ended: "Ended, everywhere within 10 seconds.",
  unlinked: "Taken off. It was told so, if it can be.",
  retired: "Retired: it gets no session any more.",
  unfrozen: "The account works again. Sign in anew on your machines.",
  merged: "Merged. Everything is in this account now.",
  apart: "Nothing was merged. Both accounts stay as they are.",
  "signed-out": "You are signed out.",
} as const;

export type Done = keyof typeof done;

export function pathWhen(word: Done): string {
  return `/account?done=${word}`;
}

export function doneBanner(word: string | undefined): Markup | "" {
  if (word === undefined || !Object.hasOwn(done, word)) return "";
  return html`<p class="banner done" role="status">${done[word as Done]}</p>`;
}
