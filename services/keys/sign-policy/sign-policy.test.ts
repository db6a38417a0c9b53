import fc from "fast-check";
import { generateKeyPair, SignJWT } from "jose";
import { beforeAll, describe, expect, test } from "vitest";

import type { OmniAccount } from "@agentkeys/lib/account";
import { MINUTE, SECOND } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { createSignPolicy, parseSignInMessage, type SignPolicy, type SignPolicyOptions } from "./index.ts";
import { address, BROKER, bytesOf, challengingBroker, linesOf, NOW } from "./testing/broker.ts";

let broker: Awaited<ReturnType<typeof challengingBroker>>;
beforeAll(async () => (broker = await challengingBroker()));

let now = NOW;
const clock = (): number => now;
const policyWith = (more: Partial<SignPolicyOptions> = {}): SignPolicy => {
  now = NOW;
  return createSignPolicy({ broker: BROKER, keys: broker.keys, clock, ...more });
};

/** The name of the reason that a message is refused for; "signed" when it is not. */
async function outcome(policy: SignPolicy, message: Uint8Array, challengeToken?: string): Promise<string> {
  try {
    await policy.check({ address, message, challengeToken: challengeToken ?? (await broker.tokenFor(message)) });
    return "signed";
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return ErrorReason[error.reason];
  }
}

const good = linesOf();

describe("a sign-in message", () => {
  test("as the broker makes it is read", () => {
    expect(parseSignInMessage(bytesOf(good))).toEqual({
      domain: "broker.example",
      address,
      uri: BROKER,
      nonce: "00112233445566778899aabbccddeeff",
      requestId: "AAAAAAAAAAAAAAAAAAAAAA",
      issuedAt: NOW,
      expiresAt: NOW + 5 * MINUTE,
    });
  });

  const replaced = (line: number, text: string): string[] => good.map((old, i) => (i === line ? text : old));
  test.each([
    ["a scheme", replaced(0, `https://${good[0]!}`)],
    ["user information", replaced(0, `someone@${good[0]!}`)],
    ["another word", replaced(0, good[0]!.replace("Ethereum", "Solana"))],
    ["an address without its checksum", replaced(1, address)],
    ["an address in upper case", replaced(1, address.toUpperCase().replace("0X", "0x"))],
    ["no statement", [...good.slice(0, 3), ...good.slice(4)]],
    ["an empty statement", replaced(3, "")],
    ["a statement in two lines", replaced(3, "one\ntwo")],
    ["a statement in other letters", replaced(3, "Ünited")],
    ["a relative URI", replaced(5, "URI: //broker.example")],
    ["version 2", replaced(6, "Version: 2")],
    ["a chain with a zero before it", replaced(7, "Chain ID: 01")],
    ["a chain with a sign", replaced(7, "Chain ID: +1")],
    ["a short nonce", replaced(8, "Nonce: abcdefgh")],
    ["a nonce with a dash", replaced(8, "Nonce: 0011223344556677-899aabbccddeeff")],
    ["a time without milliseconds", replaced(9, "Issued At: 2026-11-29T08:00:00Z")],
    ["a time in another zone", replaced(9, "Issued At: 2026-11-29T09:00:00.000+01:00")],
    ["a day that there is not", replaced(9, "Issued At: 2026-02-30T08:00:00.000Z")],
    ["an hour that there is not", replaced(10, "Expiration Time: 2026-11-29T24:00:00.000Z")],
    ["no expiration time", [...good.slice(0, 10), ...good.slice(11)]],
    ["a not-before", [...good.slice(0, 11), "Not Before: 2026-11-29T08:00:00.000Z", ...good.slice(11)]],
    ["its lines in another order", [...good.slice(0, 8), good[9]!, good[8]!, ...good.slice(10)]],
    ["a line twice", [...good.slice(0, 9), good[8]!, ...good.slice(9)]],
    ["no request id", good.slice(0, 11)],
    ["resources", [...good, "Resources:", "- https://elsewhere.example"]],
    ["a newline at the end", [...good, ""]],
    ["a newline at the beginning", ["", ...good]],
    ["carriage returns", good.map((line) => `${line}\r`)],
    ["a space at the end of a line", replaced(8, `${good[8]!} `)],
    ["a tab", replaced(6, "Version:\t1")],
    ["a null character", replaced(3, "a\0b")],
    ["a very long statement", replaced(3, "a".repeat(600))],
  ])("with %s is none", async (_, lines) => {
    expect(parseSignInMessage(bytesOf(lines))).toBeUndefined();
    expect(await outcome(policyWith(), bytesOf(lines))).toBe("MESSAGE_NOT_ALLOWED");
  });

  test("any byte of which was changed is none, or another that its token does not name", async () => {
    const policy = policyWith();
    const bytes = bytesOf(good);
    const token = await broker.tokenFor(bytes);
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 }), async (at, byte) => {
        const changed = Uint8Array.from(bytes);
        fc.pre(changed[at] !== byte);
        changed[at] = byte;
        expect(["MESSAGE_NOT_ALLOWED", "CHALLENGE_TOKEN_INVALID"]).toContain(await outcome(policy, changed, token));
      }),
      { numRuns: 300 },
    );
    expect(await outcome(policy, bytes, token)).toBe("signed");
  });
});

describe("the policy", () => {
  test("signs what the broker asked for, once", async () => {
    const policy = policyWith();
    expect(await outcome(policy, bytesOf(good))).toBe("signed");
    expect(await outcome(policy, bytesOf(good))).toBe("CHALLENGE_SPENT");
    expect(await outcome(policy, bytesOf(linesOf({ requestId: "B".repeat(22) })))).toBe("signed");
  });

  test("of two at the same time signs one", async () => {
    const policy = policyWith();
    const outcomes = await Promise.all([outcome(policy, bytesOf(good)), outcome(policy, bytesOf(good))]);
    expect(outcomes.toSorted()).toEqual(["CHALLENGE_SPENT", "signed"]);
  });

  test.each([
    ["for another wallet", linesOf({ address: "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359" })],
    ["for another site", good.map((line) => line.replaceAll("broker.example", "elsewhere.example"))],
    ["for another port of the site", good.map((line) => line.replaceAll("broker.example", "broker.example:8443"))],
    [
      "with another URI than its domain",
      good.map((line) => line.replace("URI: https://broker", "URI: https://elsewhere")),
    ],
    [
      "with a path in its URI",
      good.map((line) => line.replace("URI: https://broker.example", "URI: https://broker.example/a")),
    ],
    ["good for longer than 5 minutes", linesOf({ expires: "2026-11-29T08:05:00.001Z" })],
    ["over before it began", linesOf({ expires: "2026-11-29T07:59:00.000Z" })],
    ["issued in the future", linesOf({ issued: "2026-11-29T08:00:30.001Z", expires: "2026-11-29T08:02:00.000Z" })],
    ["from last year", linesOf({ issued: "2025-11-29T08:00:00.000Z", expires: "2025-11-29T08:05:00.000Z" })],
  ])("does not sign one %s", async (_, lines) => {
    expect(parseSignInMessage(bytesOf(lines))).toBeDefined();
    expect(await outcome(policyWith(), bytesOf(lines))).toBe("MESSAGE_NOT_ALLOWED");
  });

  test("allows the broker's clock to be ahead by half a minute, and signs until a message expires", async () => {
    const policy = policyWith();
    now = NOW - 30 * SECOND;
    expect(await outcome(policy, bytesOf(good))).toBe("signed");
    now = NOW + 5 * MINUTE - 1;
    expect(await outcome(policy, bytesOf(linesOf({ requestId: "B".repeat(22) })))).toBe("signed");
    now = NOW + 5 * MINUTE;
    expect(await outcome(policy, bytesOf(linesOf({ requestId: "C".repeat(22) })))).toBe("MESSAGE_NOT_ALLOWED");
  });

  test.each(["hello", "", "broker.example", "0x" + "00".repeat(40)])("does not sign %j", async (text) => {
    expect(await outcome(policyWith(), Buffer.from(text))).toBe("MESSAGE_NOT_ALLOWED");
  });
});

describe("a challenge token", () => {
  const message = bytesOf(good);

  test.each<[claim: string, value: unknown]>([
    ["jti", "D".repeat(22)],
    ["exp", NOW / 1000 + 299],
    ["exp", NOW / 1000 - 1],
    ["address", "0x" + "1".repeat(40)],
    ["domain", "elsewhere.example"],
    ["nonce", "f".repeat(32)],
    ["message_sha256", "0".repeat(64)],
    ["iss", "https://elsewhere.example"],
    ["jti", undefined],
    ["exp", undefined],
    ["address", undefined],
    ["domain", undefined],
    ["nonce", undefined],
    ["message_sha256", undefined],
    ["iss", undefined],
  ])("with %s %j is refused", async (claim, value) => {
    const token = await broker.tokenFor(message, { [claim]: value });
    expect(await outcome(policyWith(), message, token)).toBe("CHALLENGE_TOKEN_INVALID");
  });

  test.each([
    ["a session's type", { typ: "at+jwt" }],
    ["no type", { typ: undefined }],
  ])("with %s is refused", async (_, header) => {
    const token = await broker.tokenFor(message, {}, header);
    expect(await outcome(policyWith(), message, token)).toBe("CHALLENGE_TOKEN_INVALID");
  });

  test("that is missing, rubbish, unsigned, or signed by somebody else is refused", async () => {
    const real = await broker.tokenFor(message);
    const [head = "", payload = ""] = real.split(".");
    const other = await challengingBroker();
    const { privateKey } = await generateKeyPair("RS256");
    const none = `${Buffer.from('{"alg":"none","typ":"agentkeys-challenge+jwt"}').toString("base64url")}.${payload}.`;
    const rsa = await new SignJWT({})
      .setProtectedHeader({ alg: "RS256", typ: "agentkeys-challenge+jwt" })
      .sign(privateKey);
    for (const token of ["", "x", `${head}.${payload}.`, none, rsa, await other.tokenFor(message), real.slice(0, -4)]) {
      expect(await outcome(policyWith(), message, token)).toBe("CHALLENGE_TOKEN_INVALID");
    }
  });

  test("that cannot be checked since the broker cannot be asked is BROKER_UNAVAILABLE", async () => {
    const keys = (): never => {
      throw new Failure(ErrorReason.BROKER_UNAVAILABLE, "down");
    };
    expect(await outcome(policyWith({ keys }), message)).toBe("BROKER_UNAVAILABLE");
  });
});

describe("where general messages are allowed", () => {
  test.each(["hello", "", "\u00ff", "elsewhere.example wants you to sign in with your Ethereum account:\n"])(
    "%j is signed without a token",
    async (text) => {
      expect(await outcome(policyWith({ generalMessages: true }), Buffer.from(text), "")).toBe("signed");
    },
  );

  test("a sign-in to the broker still needs its challenge, in whatever form it comes", async () => {
    const policy = policyWith({ generalMessages: true });
    expect(await outcome(policy, bytesOf(good), "")).toBe("CHALLENGE_TOKEN_INVALID");
    for (const variant of [
      [...good, ""],
      [`https://${good[0]!}`, ...good.slice(1)],
      ["", ...good],
      [good[0]!.toUpperCase(), ...good.slice(1)],
      good.slice(0, 11),
    ]) {
      expect(await outcome(policy, bytesOf(variant), "")).toBe("MESSAGE_NOT_ALLOWED");
    }
    expect(await outcome(policy, bytesOf(good))).toBe("signed");
    expect(policy.generalMessages).toBe(true);
    expect(policyWith().generalMessages).toBe(false);
  });
});

describe("the rate limit", () => {
  const [one, other] = ["ab".repeat(32), "cd".repeat(32)] as [OmniAccount, OmniAccount];
  const limited = expect.objectContaining({ reason: ErrorReason.RATE_LIMITED }) as Failure;

  test("counts each account by itself, and says when to come back", () => {
    const policy = policyWith({ allowance: { times: 3, seconds: 60 } });
    for (let i = 0; i < 3; i++) policy.admit(one);
    expect(() => policy.admit(one)).toThrow(limited);
    policy.admit(other);
    try {
      policy.admit(one);
    } catch (error) {
      expect((error as Failure).details.retryAfterMs).toBe(20_000);
    }
    now += 20_000;
    policy.admit(one);
    expect(() => policy.admit(one)).toThrow(limited);
    now += 60_000;
    for (let i = 0; i < 3; i++) policy.admit(one);
    expect(() => policy.admit(one)).toThrow(limited);
  });

  test("never lets more through in any window, and survives a clock that is put back", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 30_000 }), { minLength: 20, maxLength: 60 }), (waits) => {
        const policy = policyWith({ allowance: { times: 4, seconds: 60 } });
        const admitted: number[] = [];
        for (const wait of waits) {
          now += wait;
          try {
            policy.admit(one);
            admitted.push(now);
          } catch (error) {
            expect(error).toEqual(limited);
          }
        }
        // A window may hold what was saved up before it and what comes back within it.
        for (const start of admitted) {
          expect(admitted.filter((at) => at >= start && at < start + 60_000).length).toBeLessThanOrEqual(8);
        }
        now = NOW - 1_000_000_000;
        policy.admit(one);
      }),
      { numRuns: 50 },
    );
  });
});

test("a refusal says what to do and repeats nothing of the message", async () => {
  const secret = "canary-in-a-message";
  const refusal = await policyWith()
    .check({ address, message: Buffer.from(secret), challengeToken: secret })
    .catch((error: unknown) => (error as Failure).message);
  expect(refusal).toContain("EIP-4361");
  expect(refusal).not.toContain(secret);
});
