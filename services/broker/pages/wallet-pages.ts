import { html } from "hono/html";

import { checksumAddress } from "@agentkeys/lib/ethereum";

import type { Login } from "../login/index.ts";
import type { Challenge } from "../wallet/index.ts";
import { type Markup, page } from "./layout.ts";
import { signInFacts, warnings } from "./login-pages.ts";
import { wordsOf } from "./purpose-words.ts";

export interface WalletPageOptions {
  /** The secret of the link. */
  token: string;
  /** Where the page is read. */
  readerAddress: string;
  /** Whether the browser that reads it is the one that started the sign-in. */
  startedHere: boolean;
  /** What was wrong with the last try. */
  problem?: string;
}

/** What is being signed in, and which wallet is to do it: one in this browser, by its script, or one that is somewhere else. */
export function walletReviewPage(login: Login, options: WalletPageOptions): Markup {
  const { token, readerAddress, problem } = options;
  const words = wordsOf(login);
  return page({
    title: "Sign in with your wallet",
    script: "/assets/wallet.js",
    body: html`<div class="card">
      <h1>${words.question}</h1>
      <p class="code">${login.userCode}</p>
      ${warnings(login, options.startedHere)}
      <dl>
        <dt>Sign in with</dt>
        <dd>Your own wallet</dd>
        ${signInFacts(login, readerAddress)}
      </dl>
      ${trouble(problem)}
      <p id="status" class="note" role="status"></p>
      <div id="wallets" class="stack" hidden></div>
      <details id="by-hand" open>
        <summary>Sign somewhere else</summary>
        <form id="connect" method="post" action="/login/wallet/challenge">
          <input type="hidden" name="token" value="${token}" />
          <label for="address">Address of the wallet</label>
          <input
            id="address"
            name="address"
            type="text"
            placeholder="0x…"
            autocomplete="off"
            autocapitalize="off"
            spellcheck="false"
            required
          />
          <button class="go" type="submit">Show what to sign</button>
        </form>
      </details>
      ${refusal(token)}
      <p class="soft">Signing ${words.consequence} Go on only if you started this yourself and the codes are the same.</p>
    </div>`,
  });
}

/** The text to sign: by the wallet in this browser, by its script, or by hand. */
export function walletMessagePage(login: Login, challenge: Challenge, options: WalletPageOptions): Markup {
  const { token, problem } = options;
  return page({
    title: "Sign this",
    script: "/assets/wallet.js",
    body: html`<div class="card">
      <h1>Sign this with your wallet</h1>
      <p>The wallet shows you this very text, and in it this code, which has to be the one that you were shown before:</p>
      <p class="code">${login.userCode}</p>
      ${trouble(problem)}
      <p id="status" class="note" role="status"></p>
      <div id="wallets" class="stack" hidden></div>
      <pre
        id="message"
        tabindex="0"
        role="group"
        aria-label="The text to sign"
        data-address="${checksumAddress(challenge.address)}"
        ${problem === undefined ? "" : "data-again"}
      >${challenge.message}</pre>
      <details id="by-hand" open>
        <summary>Sign somewhere else</summary>
        <p>Sign the text above, letter by letter, as a personal message (<code>personal_sign</code>), and bring the signature here.</p>
        <form id="answer" method="post" action="/login/wallet/verify">
          <input type="hidden" name="token" value="${token}" />
          <input type="hidden" name="request_id" value="${challenge.requestId}" />
          <label for="signature">Signature</label>
          <input
            id="signature"
            name="signature"
            type="text"
            placeholder="0x…"
            autocomplete="off"
            autocapitalize="off"
            spellcheck="false"
            required
          />
          <button class="go" type="submit">Send the signature</button>
        </form>
      </details>
      <div class="choices">
        <form method="post" action="/login/review">
          <input type="hidden" name="token" value="${token}" />
          <button type="submit">Another address</button>
        </form>
        ${refuseForm(token)}
      </div>
    </div>`,
  });
}

function trouble(problem: string | undefined): Markup | string {
  return problem === undefined ? "" : html`<p class="note" role="alert">${problem}</p>`;
}

function refusal(token: string): Markup {
  return html`<div class="choices">${refuseForm(token)}</div>`;
}

function refuseForm(token: string): Markup {
  return html`<form method="post" action="/login/refuse">
    <input type="hidden" name="token" value="${token}" />
    <button type="submit">No, this is not me</button>
  </form>`;
}
