import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { parseEmail } from "./email.ts";

describe("an address", () => {
  test.each([
    ["ada@example.com", "ada@example.com"],
    ["  Ada.Lovelace@Example.COM ", "ada.lovelace@example.com"],
    ["ada+keys@bücher.example", "ada+keys@xn--bcher-kva.example"],
    ["ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"],
    ["e\u0301ve@example.com", "\u00e9ve@example.com"],
    ["root@localhost", "root@localhost"],
  ])("%j has one canonical form: %j", (typed, canonical) => {
    expect(parseEmail(typed)).toBe(canonical);
  });

  test.each([
    "",
    "ada",
    "@example.com",
    "ada@",
    "ada@@example.com",
    "a b@example.com",
    '"ada"@example.com',
    "ada@example..com",
    "ada@-example.com",
    "ada@127.0.0.1",
    "ada@[127.0.0.1]",
    "ada\r\nbcc: x@example.com",
    "ada@example.com,bob@example.com",
    "ada@example.com\0",
    ".ada@example.com",
    "a".repeat(65) + "@example.com",
    "ada@" + "a".repeat(64) + ".com",
    "ada@" + "abcdefgh.".repeat(28) + "com",
  ])("%j is refused", (typed) => {
    expect(() => parseEmail(typed)).toThrow(expect.objectContaining({ reason: ErrorReason.INVALID_EMAIL }));
  });

  test("whatever is typed, the outcome is a canonical address or INVALID_EMAIL; parsing twice changes nothing", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.emailAddress(),
          fc.string({ unit: "binary" }),
          fc.string().map((s) => `${s}@example.com`),
        ),
        (typed) => {
          try {
            const email = parseEmail(typed);
            expect(parseEmail(email)).toBe(email);
            expect(email).not.toMatch(/[\s<>,;"\\]/);
          } catch (error) {
            expect(error).toBeInstanceOf(Failure);
          }
        },
      ),
    );
  });
});
