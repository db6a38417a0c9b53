import { exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";

import { ErrorReason, Failure } from "../failure.ts";
import { systemRandom } from "../random.ts";
import { accessTokenHash, createDpopKey, type DpopKey, generateDpopKey } from "./dpop-key.ts";
import { createDpopVerifier, type DpopRequest } from "./dpop-verifier.ts";
import { createReplayCache } from "./replay-cache.ts";

const time = { now: 1_800_000_000_000 };
const clock = (): number => time.now;
const origin = "https://broker.example";
const request = { method: "POST", path: "/v1/x", accessToken: "token" };
const target = { method: "POST", url: `${origin}/v1/x?query=is#ignored`, accessToken: "token" };

const verifier = () => createDpopVerifier({ origins: () => [origin, "http://localhost:1"], clock });
const reasonOf = async (proof: string, asked: DpopRequest = request, by = verifier()): Promise<string> => {
  const error: unknown = await by.verify(proof, asked).catch((thrown: unknown) => thrown);
  if (!(error instanceof Failure)) throw new Error("not refused");
  return ErrorReason[error.reason];
};

let key: DpopKey;
beforeAll(async () => {
  key = await createDpopKey(await generateDpopKey(), { clock, random: systemRandom });
});

test("a proof of ours is accepted for its request, under every name of the server", async () => {
  expect(await verifier().verify(await key.prove(target), request)).toEqual({ thumbprint: key.thumbprint });
  await verifier().verify(await key.prove({ ...target, url: "http://localhost:1/v1/x" }), request);
});

test("a proof works once", async () => {
  const one = verifier();
  const proof = await key.prove(target);
  await one.verify(proof, request);
  expect(await reasonOf(proof, request, one)).toBe("DPOP_REPLAYED");
});

describe("a proof for something else is refused:", () => {
  test.each([
    ["another method", { method: "GET" }, {}],
    ["another path", {}, { path: "/v1/y" }],
    ["another token", {}, { accessToken: "other" }],
    ["another host", { url: "https://evil.example/v1/x" }, {}],
    ["a longer path", { url: `${origin}/v1/x/` }, {}],
  ])("%s", async (_name, made, asked) => {
    expect(await reasonOf(await key.prove({ ...target, ...made }), { ...request, ...asked })).toBe("DPOP_INVALID");
  });

  test("none of the token", async () => {
    const proof = await key.prove({ method: "POST", url: target.url });
    expect(await reasonOf(proof)).toBe("DPOP_INVALID");
  });
});

test("a proof lives a minute", async () => {
  const proof = await key.prove(target);
  time.now += 61_000;
  expect(await reasonOf(proof)).toBe("DPOP_INVALID");
  const early = await key.prove(target);
  time.now -= 130_000;
  expect(await reasonOf(early)).toBe("DPOP_INVALID");
});

describe("a forged proof is refused:", () => {
  const claims = { jti: "j", htm: "POST", htu: `${origin}/v1/x`, iat: time.now / 1000, ath: accessTokenHash("token") };
  let pair: { privateKey: CryptoKey; publicKey: CryptoKey };
  let jwk: JWK;
  let privateJwk: JWK;
  beforeAll(async () => {
    pair = await generateKeyPair("ES256", { extractable: true });
    [jwk, privateJwk] = [await exportJWK(pair.publicKey), await exportJWK(pair.privateKey)];
  });
  const forge = (header: Record<string, unknown>, changes: Record<string, unknown> = {}): Promise<string> => {
    const at = Math.floor(time.now / 1000);
    return new SignJWT({ ...claims, iat: at, ...changes })
      .setProtectedHeader({ alg: "ES256", typ: "dpop+jwt", jwk, ...header })
      .sign(pair.privateKey);
  };

  test("control: this way of making one works", async () => {
    await verifier().verify(await forge({}), request);
  });
  test("a key with its private part", async () =>
    expect(await reasonOf(await forge({ jwk: privateJwk }))).toBe("DPOP_INVALID"));
  test("another type", async () => expect(await reasonOf(await forge({ typ: "JWT" }))).toBe("DPOP_INVALID"));
  test("no key", async () => expect(await reasonOf(await forge({ jwk: undefined }))).toBe("DPOP_INVALID"));
  test("a symmetric key", async () => {
    const oct = { kty: "oct", k: "AAAA" };
    expect(await reasonOf(await forge({ jwk: oct }))).toBe("DPOP_INVALID");
  });
  test("another's key", async () => {
    const other = await exportJWK((await generateKeyPair("ES256")).publicKey);
    expect(await reasonOf(await forge({ jwk: other }))).toBe("DPOP_INVALID");
  });
  test.each(["jti", "htm", "htu", "iat", "ath"])("no %s", async (claim) => {
    expect(await reasonOf(await forge({}, { [claim]: undefined }))).toBe("DPOP_INVALID");
  });
  test("a time that is no number, an id that is no text or too long", async () => {
    for (const changes of [{ jti: 5 }, { jti: "" }, { jti: "x".repeat(300) }]) {
      expect(await reasonOf(await forge({}, changes))).toBe("DPOP_INVALID");
    }
  });
  test("whatever text", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ maxLength: 200 }), async (text) => {
        expect(await reasonOf(text)).toBe("DPOP_INVALID");
      }),
    );
    expect(await reasonOf("a".repeat(100_000))).toBe("DPOP_INVALID");
  });
});

describe("the replay cache", () => {
  test("never lets an id pass twice while it lives, whatever order things happen in", () => {
    const step = fc.record({ id: fc.integer({ min: 0, max: 9 }), pause: fc.integer({ min: 0, max: 50 }) });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const cache = createReplayCache();
        const alive = new Map<number, number>();
        let now = 0;
        for (const { id, pause } of steps) {
          now += pause;
          const expected = (alive.get(id) ?? 0) <= now;
          expect(cache.use(String(id), now + 100, now)).toBe(expected);
          if (expected) alive.set(id, now + 100);
        }
      }),
    );
  });

  test("when it is full, a new id is refused rather than an old one forgotten", () => {
    const cache = createReplayCache(2);
    expect([cache.use("a", 10, 0), cache.use("b", 10, 0), cache.use("c", 10, 0)]).toEqual([true, true, false]);
    expect(cache.use("a", 10, 0)).toBe(false);
    expect(cache.use("c", 20, 10)).toBe(true);
  });
});
