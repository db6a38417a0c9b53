import { html } from "hono/html";

import { type Markup, page } from "../layout.ts";
import { hidden } from "./method-form.ts";

/** What is about to be done, and to what. */
export interface Question {
  title: string;
  /** What happens then, in a sentence or two. */
  consequence: string;
  facts: readonly (readonly [name: string, value: Markup | string])[];
  /** What the button says. */
  yes: string;
  /** Whether it takes something away. */
  takesAway: boolean;
}

/** Asks once more; the button is on the same address. */
export function confirmPage(
  { title, consequence, facts, yes, takesAway }: Question,
  path: string,
  formToken: string,
): Markup {
  return page({
    title,
    body: html`<div class="card">
      <h1>${title}</h1>
      ${
        facts.length === 0
          ? ""
          : html`<dl>
              ${facts.map(
                ([name, value]) =>
                  html`<dt>${name}</dt>
                    <dd>${value}</dd>`,
              )}
            </dl>`
      }
      <p>${consequence}</p>
      <div class="choices">
        <form method="post" action="${path}">
          ${hidden("form", formToken)}
          <button class="${takesAway ? "stop" : "go"}" type="submit">${yes}</button>
        </form>
        <a class="button" href="/account">No, leave it</a>
      </div>
    </div>`,
  });
}
