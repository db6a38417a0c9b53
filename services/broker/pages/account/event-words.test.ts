import { expect, test } from "vitest";

import { parseOmniAccount } from "@agentkeys/lib/account";

import type { RecordedEvent } from "../../audit/index.ts";
import type { Identity } from "../../identity/index.ts";
import { eventRows } from "./event-words.ts";

const anchor = parseOmniAccount("a".repeat(64));

function identity(type: Identity["type"], value: string, displayName?: string): Identity {
  const named = displayName === undefined ? {} : { displayName };
  return { type, value, ...named, omniAccount: anchor, anchor, linkedAt: 1, lastUsedAt: 1 };
}

async function told(subject: string, identities: Identity[]): Promise<string> {
  const facts = {
    action: "identity.linked",
    outcome: "ok",
    sessionId: "",
    sourceAddress: "192.0.2.1",
    requestId: "",
  } as const;
  const event: RecordedEvent = { ...facts, eventId: 1, occurredAt: 0, subject };
  const rows = String(await eventRows([event], { identities, ways: [] }));
  return rows.replace(/<[^>]+>/g, "").trim();
}

test.each([
  ["a mailbox", "ada@example.com", [], "ada@example.com was linked"],
  [
    "a passkey, whose id says nothing",
    "kx3-_w",
    [identity("passkey", "kx3-_w", "Passkey of May")],
    "Passkey of May was linked",
  ],
  [
    "who has a name at a provider",
    "https://idp|7",
    [identity("oauth2", "https://idp|7", "Ada L.")],
    "Ada L. (https://idp) was linked",
  ],
  ["who has none there", "https://idp|a|7", [identity("oauth2", "https://idp|a|7")], "a|7 (https://idp) was linked"],
  ["who was taken off again", "https://idp|a|7", [], "a|7 was linked"],
  ["a wallet", `0x${"0".repeat(39)}a`, [], `0x${"0".repeat(39)}A was linked`],
])("history tells of %s", async (_, subject, identities, words) => {
  expect(await told(subject, identities)).toContain(words);
});
