import { html } from "hono/html";

import { checksumAddress, parseEvmAddress } from "@agentkeys/lib/ethereum";

import type { Identity } from "../../identity/index.ts";
import { parseDeviceName } from "../../login/index.ts";
import type { Markup } from "../layout.ts";
import type { Way } from "./ways.ts";

/**
 * Text that somebody else chose. What cannot be seen is taken out of it, and it is isolated: it can neither turn the words around it nor
 * pass for more than the one thing that it stands for.
 */
export function shown(text: string): Markup {
  return html`<bdi>${parseDeviceName(text)}</bdi>`;
}

/** A point in time, in UTC as everywhere in the terminal and the log. */
export function moment(time: number): Markup {
  const iso = new Date(time).toISOString();
  return html`<time datetime="${iso}">${dateOf(time)}, ${iso.slice(11, 16)} UTC</time>`;
}

/** The day of a point in time, in UTC. */
export function day(time: number): Markup {
  return html`<time datetime="${new Date(time).toISOString().slice(0, 10)}">${dateOf(time)}</time>`;
}

function dateOf(time: number): string {
  const [, day, month, year] = new Date(time).toUTCString().split(/,? /);
  return `${Number(day)} ${month} ${year}`;
}

/** An EIP-55 address, its bytes in view. */
export function address(value: string): Markup {
  return html`<span class="mono">${checksumAddress(parseEvmAddress(value))}</span>`;
}

/** What an identity is called, and what kind it is. */
export interface IdentityWords {
  name: Markup;
  kind: string;
}

export function wordsFor({ type, value, displayName }: Identity, ways: readonly Way[]): IdentityWords {
  switch (type) {
    case "email":
      return { name: shown(value), kind: "E-mail" };
    case "evm":
      return { name: address(value), kind: "Own wallet" };
    case "passkey":
      return { name: shown(displayName ?? "A passkey"), kind: "Passkey" };
    case "oauth2": {
      const bar = value.indexOf("|");
      const way = ways.find((each) => each.proves({ type, value }));
      return { name: shown(displayName ?? value.slice(bar + 1)), kind: way?.title ?? value.slice(0, bar) };
    }
  }
}
