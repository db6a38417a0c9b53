import { html } from "hono/html";

import type { AuditStore, RecordedEvent } from "../../audit/index.ts";
import type { BrowserSession } from "../../browser/index.ts";
import { type Markup, page } from "../layout.ts";
import { eventRows, type Names } from "./event-words.ts";

/** A page of the history, and where the next one is. */
export interface History {
  events: readonly RecordedEvent[];
  olderEvents: string | undefined;
}

/** The events older than `before`, the newest first. */
export async function historyOf(
  audit: AuditStore,
  { anchor }: BrowserSession,
  size: number,
  before?: number,
): Promise<History> {
  // One more than is shown tells whether there is a next page.
  const found = await audit.page(anchor, size + 1, before);
  const events = found.slice(0, size);
  const last = events.at(-1);
  const more = found.length > size && last !== undefined;
  return { events, olderEvents: more ? `/account/events?before=${last.eventId}` : undefined };
}

export function eventsPage({ events, olderEvents }: History, names: Names): Markup {
  return page({
    title: "What happened",
    wide: true,
    beside: html`<a class="button small" href="/account">Your account</a>`,
    body: html`<div class="card">
      <h1>What happened</h1>
      ${events.length === 0 ? html`<p>Nothing older than that.</p>` : eventRows(events, names)}
      ${olderEvents === undefined ? "" : html`<p class="after"><a href="${olderEvents}">Older</a></p>`}
    </div>`,
  });
}
