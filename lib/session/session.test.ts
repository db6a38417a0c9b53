import { createLocalJWKSet, exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { beforeAll, describe, expect, test } from "vitest";

import { ErrorReason, Failure } from "../failure.ts";
import { createSessionVerifier, type SessionVerifier } from "./session.ts";

const issuer = "https://broker.example";
const account = "ab".repeat(32);
const now = 1_800_000_000_000;
const seconds = now / 1000;
const claims = {
  iss: issuer,
  aud: "agentkeys",
  sub: account,
  jti: "A".repeat(22),
  iat: seconds,
  exp: seconds + 600,
  kind: "identity",
  anchor: account,
  identity: account,
};

let key: CryptoKey;
let otherKey: CryptoKey;
let verifier: SessionVerifier;
beforeAll(async () => {
  const pair = await generateKeyPair("ES256");
  key = pair.privateKey;
  otherKey = (await generateKeyPair("ES256")).privateKey;
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: "k1", alg: "ES256", use: "sig" };
  verifier = createSessionVerifier({
    issuer,
    keys: createLocalJWKSet({ keys: [jwk] }),
    isRevoked: (id) => Promise.resolve(id === "R".repeat(22)),
    clock: () => now,
  });
});

const token = (
  changes: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
  by = key,
): Promise<string> =>
  new SignJWT({ ...claims, ...changes })
    .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: "k1", ...header })
    .sign(by);

const reasonOf = async (text: string): Promise<string> => {
  const error: unknown = await verifier.verify(text).catch((thrown: unknown) => thrown);
  if (!(error instanceof Failure)) throw new Error("not refused");
  if (text.length > 20) expect(error.message).not.toContain(text.slice(-20));
  return ErrorReason[error.reason];
};

test("a good token becomes a session", async () => {
  expect(await verifier.verify(await token({ cnf: { jkt: "thumb" } }))).toEqual({
    id: "A".repeat(22),
    kind: "identity",
    subject: account,
    anchor: account,
    identity: account,
    issuedAt: now,
    expiresAt: now + 600_000,
    dpopThumbprint: "thumb",
    restricted: false,
  });
});

test("a token that says it is restricted is, whatever it says of that", async () => {
  for (const restricted of [true, false, null, "no"]) {
    expect(await verifier.verify(await token({ restricted }))).toMatchObject({ restricted: true });
  }
});

describe("is refused as SESSION_INVALID:", () => {
  test.each([
    ["another issuer", { iss: "https://other.example" }, {}],
    ["another audience", { aud: "sts.amazonaws.com" }, {}],
    ["no audience", { aud: undefined }, {}],
    ["no expiry", { exp: undefined }, {}],
    ["no id", { jti: undefined }, {}],
    ["no issue time", { iat: undefined }, {}],
    ["issued in the future", { iat: seconds + 60 }, {}],
    ["an unknown kind", { kind: "admin" }, {}],
    ["a wallet session without a wallet", { kind: "wallet" }, {}],
    ["a misshapen anchor", { anchor: "AB".repeat(32) }, {}],
    ["a binding that is none", { cnf: { x5t: "y" } }, {}],
    ["another type", {}, { typ: "JWT" }],
    ["no type", {}, { typ: undefined }],
    ["an unknown key", {}, { kid: "k2" }],
  ])("%s", async (_name, changes, header) => {
    const reason = await reasonOf(await token(changes, header));
    expect(["SESSION_INVALID", "INVALID_OMNI_ACCOUNT"]).toContain(reason);
  });

  test("another key under the right name", async () => {
    expect(await reasonOf(await token({}, {}, otherKey))).toBe("SESSION_INVALID");
  });

  test("no signature, an HMAC, garbage, and something long", async () => {
    const hmac = await new SignJWT(claims)
      .setProtectedHeader({ alg: "HS256", typ: "at+jwt", kid: "k1" })
      .sign(new Uint8Array(32));
    for (const text of [new UnsecuredJWT(claims).encode(), hmac, "", "x", "a.b.c", "a".repeat(100_000)]) {
      expect(await reasonOf(text)).toBe("SESSION_INVALID");
    }
  });
});

test("an expired token is SESSION_EXPIRED, five seconds of clock skew granted", async () => {
  expect(await reasonOf(await token({ iat: seconds - 700, exp: seconds - 6 }))).toBe("SESSION_EXPIRED");
  await verifier.verify(await token({ iat: seconds - 700, exp: seconds - 4 }));
});

test("a revoked session is SESSION_REVOKED", async () => {
  expect(await reasonOf(await token({ jti: "R".repeat(22) }))).toBe("SESSION_REVOKED");
});
