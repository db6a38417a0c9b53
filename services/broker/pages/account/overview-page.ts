import { html } from "hono/html";

import { MINUTE } from "@agentkeys/lib/clock";

import type { RecordedEvent } from "../../audit/index.ts";
import { BROWSER_IDLE_MS, BROWSER_LIFE_MS, type BrowserSession } from "../../browser/index.ts";
import type { Identity } from "../../identity/index.ts";
import type { SessionRecord } from "../../token/index.ts";
import type { WalletLink } from "../../wallet/index.ts";
import { type Markup, page } from "../layout.ts";
import { doneBanner } from "./banners.ts";
import { eventRows } from "./event-words.ts";
import { identityIcon, sessionIcon, walletIcon } from "./icons.ts";
import { hidden } from "./method-form.ts";
import { address, day, moment, shown, wordsFor } from "./shown.ts";
import { type SignIn, signInsOf } from "./sign-ins.ts";
import type { Way } from "./ways.ts";

/** All that the account's page shows. */
export interface Overview {
  session: BrowserSession;
  identities: readonly Identity[];
  wallets: readonly WalletLink[];
  /** Live ones, the newest first. */
  sessions: readonly SessionRecord[];
  /** The newest. */
  events: readonly RecordedEvent[];
  /** Where older ones are. */
  olderEvents: string | undefined;
  ways: readonly Way[];
  done: string | undefined;
}

/** The account of whoever is signed in: who gets in, what acts in its name, and what happened. */
export function overviewPage(overview: Overview): Markup {
  const { session, done } = overview;
  return page({
    title: "Your account",
    wide: true,
    beside: html`<form method="post" action="/account/sign-out">
      ${hidden("form", session.formToken)}
      <button class="small" type="submit">Sign out</button>
    </form>`,
    body: html`${doneBanner(done)} ${frozenBanner(session)}
      <h1>Your account</h1>
      <p class="soft">
        This browser stays signed in until ${moment(session.signedInAt + BROWSER_LIFE_MS)} at the latest, and for
        ${BROWSER_IDLE_MS / MINUTE} minutes without you.
      </p>
      ${identitiesCard(overview)} ${walletsCard(overview)} ${signInsCard(overview)} ${historyCard(overview)}
      <details class="soft facts">
        <summary>The account's name in logs and policies</summary>
        <span class="mono">${session.anchor}</span>
      </details>`,
  });
}

function frozenBanner({ frozenAt }: BrowserSession): Markup | "" {
  if (frozenAt === undefined) return "";
  return html`<section class="banner" aria-labelledby="frozen">
    <span id="frozen">This account is frozen</span>
    <p>
      Somebody said “this was not me” at ${moment(frozenAt)}. Every machine was signed out, and nobody gets credentials.
      Look at what happened, take off what is not yours, and then put it back to work.
    </p>
    <a class="button small" href="/account/unfreeze">Put it back to work</a>
  </section>`;
}

function identitiesCard({ session, identities, ways }: Overview): Markup {
  const row = (identity: Identity, position: number): Markup => {
    const { name, kind } = wordsFor(identity, ways);
    const chips = [
      position === 0 && identity.omniAccount === identity.anchor ? chip("the first") : "",
      identity.omniAccount === session.identity ? chip("this browser") : "",
      identity.suspendedAt === undefined ? "" : chip("suspended", "bad"),
    ];
    return html`<li>
      ${identityIcon(identity)}
      <div class="what">
        <span><span class="name">${name}</span>${chips}</span>
        <span class="soft">${kind} · Linked ${day(identity.linkedAt)} · Last used ${moment(identity.lastUsedAt)}</span>
        ${
          identity.suspendedAt === undefined
            ? ""
            : html`<span class="soft">Reported by another identity's owner at ${moment(identity.suspendedAt)}: it signs in to nothing.</span>`
        }
      </div>
      ${
        identities.length === 1
          ? ""
          : html`<a class="button small" href="/account/unlink/${identity.omniAccount}" >Take off<span class="unseen"> ${name}</span></a>`
      }
    </li>`;
  };
  return html`<section class="card" aria-labelledby="identities">
    <div class="head">
      <h2 id="identities">Ways to sign in</h2>
      ${session.frozenAt === undefined ? html`<a class="button small" href="/account/link">Link another</a>` : ""}
    </div>
    <ul class="rows">
      ${identities.map(row)}
    </ul>
    ${
      identities.length === 1
        ? html`<p class="note after">Lose it, and the account is lost. Link another one while you have it.</p>`
        : ""
    }
  </section>`;
}

/**
 * The broker is told of no derivation: that a wallet is the key service's own it knows only by what is not so, an identity's. There is one
 * version of the derivation, `agentkeys-evm-wallet-v1:`.
 */
function walletsCard({ session, wallets, identities }: Overview): Markup {
  const own = new Set(identities.filter(({ type }) => type === "evm").map(({ value }) => value));
  const row = ({ address: wallet, createdAt, verifiedAt, retiredAt }: WalletLink): Markup => {
    const state =
      retiredAt !== undefined
        ? html`Retired ${day(retiredAt)}: it gets no session any more`
        : verifiedAt !== undefined
          ? html`Linked ${day(verifiedAt)}`
          : html`Claimed ${day(createdAt)} and never proven: it gives no rights`;
    const key =
      verifiedAt === undefined
        ? ""
        : own.has(wallet)
          ? " · Your own key"
          : " · Key version 1, where the key service derived it";
    return html`<li>
      ${walletIcon}
      <div class="what">
        <span>
          ${address(wallet)}${retiredAt === undefined ? "" : chip("retired", "off")}${
            verifiedAt === undefined ? chip("claim", "off") : ""
          }
        </span>
        <span class="soft">${state}${key}</span>
      </div>
      ${
        verifiedAt === undefined || retiredAt !== undefined || session.frozenAt !== undefined
          ? ""
          : html`<a class="button small" href="/account/retire/${wallet}" >Retire<span class="unseen"> ${address(wallet)}</span></a>`
      }
    </li>`;
  };
  return html`<section class="card" aria-labelledby="wallets">
    <div class="head"><h2 id="wallets">Wallets</h2></div>
    ${
      wallets.length === 0
        ? html`<p class="soft">None yet. The first machine that signs in brings one.</p>`
        : html`<ul class="rows">
            ${wallets.map(row)}
          </ul>`
    }
  </section>`;
}

function signInsCard({ session, sessions, identities, ways }: Overview): Markup {
  const isHere = ({ root }: SignIn): boolean => root.sessionId === session.id;
  const all = signInsOf(sessions).sort((a, b) => Number(isHere(b)) - Number(isHere(a)));
  const row = ({ root, lastUsedAt, audiences }: SignIn): Markup => {
    const here = root.sessionId === session.id;
    const identity = identities.find(({ omniAccount }) => omniAccount === root.identity);
    return html`<li>
      ${sessionIcon(root)}
      <div class="what">
        <span>
          <span class="name">${nameOf(root)}</span>${here ? chip("this browser") : root.kind === "browser" ? chip("browser", "off") : ""}
        </span>
        <span class="soft">
From ${root.sourceAddress}${identity === undefined ? "" : html` as ${wordsFor(identity, ways).name}`}
        </span>
        <span class="soft">
          Signed in ${moment(root.signedInAt)} ·
          ${lastUsedAt === undefined ? "Not used since" : html`Last used ${moment(lastUsedAt)}`}
        </span>
        ${
          audiences.length === 0
            ? ""
            : html`<span class="soft">Tokens for ${audiences.map((each, i) => html`${i === 0 ? "" : ", "}${shown(each)}`)}</span>`
        }
      </div>
      ${here ? "" : html`<a class="button small" href="/account/end/${root.sessionId}">End<span class="unseen"> ${nameOf(root)}</span></a>`}
    </li>`;
  };
  return html`<section class="card" aria-labelledby="sign-ins">
    <div class="head">
      <h2 id="sign-ins">Machines and browsers</h2>
      ${all.length > 1 ? html`<a class="button small" href="/account/end-others">End all others</a>` : ""}
    </div>
    <ul class="rows">
      ${all.map(row)}
    </ul>
  </section>`;
}

function historyCard({ events, olderEvents, identities, ways }: Overview): Markup {
  return html`<section class="card" aria-labelledby="history">
    <div class="head"><h2 id="history">What happened</h2></div>
    ${eventRows(events, { identities, ways })}
    ${olderEvents === undefined ? "" : html`<p class="after"><a href="${olderEvents}">Older</a></p>`}
  </section>`;
}

/** What a sign-in is called: its machine's name, or what is known of it otherwise. */
export function nameOf({ deviceName, kind, wallet }: SessionRecord): Markup {
  if (deviceName !== "") return shown(deviceName);
  return kind === "wallet" && wallet !== undefined
    ? html`Whoever holds ${address(wallet)}`
    : html`A machine without a name`;
}

function chip(text: string, look: "" | "off" | "bad" = ""): Markup {
  return html`<span class="chip ${look}">${text}</span>`;
}
