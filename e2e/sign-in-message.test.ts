import { SESSION_STATEMENT, siweMessage } from "@agentkeys/broker/wallet/siwe-message.ts";
import { parseSignInMessage } from "@agentkeys/keys/sign-policy/index.ts";
import type { EvmAddress } from "@agentkeys/lib/ethereum";
import fc from "fast-check";
import { SiweMessage } from "siwe";
import { describe, expect, test } from "vitest";

const text = (alphabet: string, minLength: number, maxLength: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...Array.from(alphabet)), minLength, maxLength });
const HEX = "0123456789abcdef";

/** What the broker may put into a challenge. */
const contents = fc.record({
  publicUrl: fc.constantFrom("https://broker.example", "http://127.0.0.1:8091", "https://keys.broker.example:8443"),
  address: text(HEX, 40, 40).map((digits) => `0x${digits}` as EvmAddress),
  chainId: fc.constantFrom(1, 5, 11155111),
  nonce: text(HEX, 32, 32),
  requestId: text("abcXYZ019-_", 22, 22),
  issuedAt: fc.integer({ min: 0, max: 4_000_000_000 }).map((seconds) => seconds * 1000),
  expiresAt: fc.integer({ min: 0, max: 4_000_000_000 }).map((seconds) => seconds * 1000),
});

describe("a sign-in message between broker and key service", () => {
  test("says to the key service what the broker put into it", () => {
    fc.assert(
      fc.property(contents, ({ publicUrl, chainId, ...content }) => {
        const message = siweMessage({ publicUrl, chainId, statement: SESSION_STATEMENT, ...content });
        const read = parseSignInMessage(Buffer.from(message));
        expect(read).toEqual({ ...content, uri: publicUrl, domain: new URL(publicUrl).host });
      }),
      { numRuns: 200 },
    );
  });

  test("is never read where the siwe package reads none, and never otherwise than it reads it", () => {
    let both = 0;
    const pieces = fc.constantFrom(
      "",
      "a",
      "Z",
      "0",
      "9",
      " ",
      "\n",
      ":",
      "/",
      "-",
      ".",
      "%",
      "@",
      "[",
      "é",
      "\0",
      "\t",
    );
    fc.assert(
      fc.property(contents, fc.nat(), pieces, (content, at, piece) => {
        const message = siweMessage({ ...content, statement: SESSION_STATEMENT });
        const place = at % (message.length + 1);
        const changed = message.slice(0, place) + piece + message.slice(place + (at % 2));
        const read = parseSignInMessage(Buffer.from(changed));
        if (read === undefined) return;
        both++;
        const theirs = new SiweMessage(changed);
        expect(read).toEqual({
          domain: theirs.domain,
          address: theirs.address.toLowerCase(),
          uri: theirs.uri,
          nonce: theirs.nonce,
          requestId: theirs.requestId,
          issuedAt: Date.parse(theirs.issuedAt ?? ""),
          expiresAt: Date.parse(theirs.expirationTime ?? ""),
        });
      }),
      { numRuns: 3000 },
    );
    expect(both).toBeGreaterThan(100);
  });
});
