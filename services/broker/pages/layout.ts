import { createHash } from "node:crypto";

import { html, raw } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";

import { light } from "@agentkeys/lib/look/palette";
import { styleSheet } from "@agentkeys/lib/look/style-sheet";

/** Markup in which everything that was put in is escaped. */
export type Markup = HtmlEscapedString | Promise<HtmlEscapedString>;

export interface PageOptions {
  title: string;
  body: Markup;
  /** A script of ours to load, by its path. */
  script?: string;
  /** Where the browser goes by itself. */
  goTo?: string;
  /** After how many seconds a browser without scripts asks for the page again. */
  askAgainAfter?: number;
  wide?: boolean;
  /** What stands in the header beside our name. */
  beside?: Markup;
}

/**
 * The one style that the pages' policy lets through, by its hash (CSP Level 3 section 2.3.1). It comes with each page, so that the first
 * thing to be seen needs one request.
 */
export const styleSource = `'sha256-${createHash("sha256").update(styleSheet, "utf8").digest("base64")}'`;

const style = raw(`<style>${styleSheet}</style>`);

/** A key, for the browser's tab; it comes along as well. */
const icon = `data:image/svg+xml,${encodeURIComponent(
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="${light.go}" stroke-width="2.5" stroke-linecap="round"><circle cx="8" cy="12" r="4.5"/><path d="M12.5 12H21v4M17 12v3"/></svg>`,
)}`;

/** The frame of every page. */
export function page({ title, body, script, goTo, askAgainAfter, wide = false, beside }: PageOptions): Markup {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title} · AgentKeys</title>
        <link rel="icon" href="${icon}" />
        ${style} ${goTo === undefined ? "" : html`<meta http-equiv="refresh" content="0; url=${goTo}" />`}
        ${
          askAgainAfter === undefined
            ? ""
            : html`<noscript><meta http-equiv="refresh" content="${askAgainAfter}" /></noscript>`
        }
        ${script === undefined ? "" : html`<script src="${script}" defer></script>`}
      </head>
      <body class="${wide ? "wide" : ""}">
        <header>
          <a href="/"
            ><svg viewBox="0 0 24 24" aria-hidden="true">
              <circle cx="8" cy="12" r="4.5" />
              <path d="M12.5 12H21v4M17 12v3" /></svg
            >AgentKeys</a
          >
          ${beside ?? ""}
        </header>
        <main>${body}</main>
        <footer>This page is from your AgentKeys broker and loads nothing from anywhere else.</footer>
      </body>
    </html>`;
}
