import { html } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";

/** Markup in which everything that was put in is escaped. */
export type Markup = HtmlEscapedString | Promise<HtmlEscapedString>;

export interface PageOptions {
  title: string;
  body: Markup;
  /** A script of ours to load, by its path. */
  script?: string;
  /** Where the browser goes by itself. */
  goTo?: string;
  wide?: boolean;
}

/** The frame of every page. */
export function page({ title, body, script, goTo, wide = false }: PageOptions): Markup {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title} · AgentKeys</title>
        <link rel="stylesheet" href="/assets/style.css" />
        ${goTo === undefined ? "" : html`<meta http-equiv="refresh" content="0; url=${goTo}" />`}
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
        </header>
        <main>${body}</main>
        <footer>This page is from your AgentKeys broker and loads nothing from anywhere else.</footer>
      </body>
    </html>`;
}
