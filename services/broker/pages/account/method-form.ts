import { html } from "hono/html";

import type { Markup } from "../layout.ts";
import type { Way } from "./ways.ts";

/** One form for each way that somebody can prove who they are: the mailbox with its field, a button for each of the others, and `more` beside these. */
export function methodForms(action: string, ways: readonly Way[], formToken = "", more: Markup | "" = ""): Markup {
  const token = formToken === "" ? "" : hidden("form", formToken);
  const [addressed, others] = [ways.filter((way) => way.takesAddress), ways.filter((way) => !way.takesAddress)];
  return html`${addressed.map(
    ({ id }) =>
      html`<form method="post" action="${action}">
          ${token} ${hidden("way", id)}
          <label for="email">E-mail address</label>
          <input id="email" name="email" type="email" autocomplete="email" maxlength="254" required />
          <button class="go" type="submit">Send me a link</button>
        </form>`,
  )}
    ${others.length === 0 ? "" : html`<p class="or">or</p>`}
    <div class="stack">
      ${others.map(
        ({ id, title }) =>
          html`<form method="post" action="${action}">
            ${token} ${hidden("way", id)}
            <button type="submit">Go on with ${title}</button>
          </form>`,
      )}
      ${more}
    </div>`;
}

export function hidden(name: string, value: string): Markup {
  return html`<input type="hidden" name="${name}" value="${value}" />`;
}
