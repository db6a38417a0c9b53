import { AssumeRoleWithWebIdentityCommand, GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { decodeProtectedHeader, exportJWK, generateKeyPair, type JWTPayload } from "jose";
import { createHmac } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { generateIssuerKey, startIssuer, type TestIssuer } from "../harness/issuer.ts";
import { TAGS_CLAIM, trustPolicy } from "../harness/policies.ts";
import { createIam, type Iam } from "../harness/provision.ts";
import { AwsError } from "./aws-error.ts";
import { type LocalAws, startLocalAws } from "./start.ts";
import { fetchProviderKey } from "./sts/provider-keys.ts";

const NOW = Date.UTC(2030, 0, 2, 3, 4, 5);
const SECONDS = NOW / 1000;
const clock = (): number => NOW;

let aws: LocalAws;
let issuer: TestIssuer;
let iam: Iam;
let sts: STSClient;

beforeAll(async () => {
  issuer = await startIssuer({ clock });
  aws = await startLocalAws({ clock });
  iam = createIam(aws, { systemClockOffset: NOW - Date.now() });
  await iam.createProvider(issuer.url, ["sts.amazonaws.com", "other.example"]);
  await iam.createRole("agent", trustPolicy({ provider: iam.providerArn(issuer.url), issuer: issuer.url }));
  sts = new STSClient({ endpoint: aws.url, region: "us-east-1", maxAttempts: 1 });
});
afterAll(async () => {
  sts.destroy();
  await Promise.all([aws.close(), issuer.close()]);
});

let published: Pick<TestIssuer, "discovery" | "keys">;
beforeEach(() => {
  published = { discovery: { ...issuer.discovery }, keys: [...issuer.keys] };
});
afterEach(() => {
  Object.assign(issuer, published, { answer: undefined });
});

const tags = (principalTags: unknown, transitive: unknown = []): JWTPayload => ({
  [TAGS_CLAIM]: { principal_tags: principalTags, transitive_tag_keys: transitive },
});

interface Overrides {
  RoleArn?: string;
  RoleSessionName?: string;
  DurationSeconds?: number;
  Policy?: string;
  ProviderId?: string;
}

const assume = (token: string, overrides: Overrides = {}) =>
  sts.send(
    new AssumeRoleWithWebIdentityCommand({
      RoleArn: iam.roleArn("agent"),
      RoleSessionName: "session",
      WebIdentityToken: token,
      ...overrides,
    }),
  );

/** The exception's name as an SDK user sees it, the HTTP status, and the message. */
async function refusal(token: string, overrides?: Overrides): Promise<string> {
  try {
    await assume(token, overrides);
  } catch (error) {
    const { name, message, $metadata } = error as Error & { $metadata?: { httpStatusCode?: number } };
    return `${name} ${String($metadata?.httpStatusCode)}: ${message}`;
  }
  return "accepted";
}

describe("a token that AWS would take", () => {
  test("gives credentials for an hour, and says for whom", async () => {
    const answer = await assume(await issuer.mint());
    expect(answer.Credentials?.AccessKeyId).toMatch(/^ASIA[A-Z2-7]{16}$/);
    expect(answer.Credentials?.Expiration?.getTime()).toBe(NOW + 3_600_000);
    expect(answer.SubjectFromWebIdentityToken).toBe("agentkeys:wallet:0xabc");
    expect(answer.AssumedRoleUser?.Arn).toBe("arn:aws:sts::123456789012:assumed-role/agent/session");
    expect(answer.AssumedRoleUser?.AssumedRoleId).toMatch(/^AROA[A-Z2-7]{16}:session$/);
    expect(answer.Provider).toBe(iam.providerArn(issuer.url));
    expect(answer.Audience).toBe("sts.amazonaws.com");
    expect(answer.SessionTokenUtilization).toBe(0);
    expect(answer.SessionTokenSize).toBe(answer.Credentials?.SessionToken?.length);
  });

  test("names its session in GetCallerIdentity", async () => {
    const { Credentials } = await assume(await issuer.mint());
    const client = new STSClient({
      endpoint: aws.url,
      region: "us-east-1",
      systemClockOffset: NOW - Date.now(),
      credentials: {
        accessKeyId: Credentials!.AccessKeyId!,
        secretAccessKey: Credentials!.SecretAccessKey!,
        sessionToken: Credentials!.SessionToken!,
      },
    });
    const who = await client.send(new GetCallerIdentityCommand({}));
    expect(who.Arn).toBe("arn:aws:sts::123456789012:assumed-role/agent/session");
    client.destroy();
  });

  test("lasts as long as asked for, up to the role's longest", async () => {
    const { Credentials } = await assume(await issuer.mint(), { DurationSeconds: 900 });
    expect(Credentials?.Expiration?.getTime()).toBe(NOW + 900_000);
    expect(await refusal(await issuer.mint(), { DurationSeconds: 3601 })).toBe(
      "ValidationError 400: The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    );
  });

  test.each(["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"])("may be signed with %s", async (alg) => {
    const key = await generateIssuerKey(alg);
    issuer.keys = [issuer.key.jwk, key.jwk];
    expect(await refusal(await issuer.mint({}, key))).toBe("accepted");
  });

  test("may be used up to five minutes after its end", async () => {
    expect(await refusal(await issuer.mint({ exp: SECONDS - 300 }))).toBe("accepted");
  });

  test("may be used twice", async () => {
    const token = await issuer.mint();
    expect([await refusal(token), await refusal(token)]).toEqual(["accepted", "accepted"]);
  });

  test("may name the audience in a list, or as azp", async () => {
    expect(await refusal(await issuer.mint({ aud: ["x", "sts.amazonaws.com"] }))).toBe("accepted");
    expect(await refusal(await issuer.mint({ aud: "x", azp: "sts.amazonaws.com" }))).toBe("accepted");
    expect(await refusal(await issuer.mint({ azp: "x" }))).toContain("Incorrect token audience");
  });
});

const noKey = (): string =>
  "InvalidIdentityTokenException 400: Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements";
const notJwt =
  "InvalidIdentityTokenException 400: The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)";
const badSignature = "InvalidIdentityTokenException 400: Invalid token signature";

describe("a token that was not made by the issuer", () => {
  test.each(["four", "a.b.c", "{}.{}.{}", "eyJhbGciOiJFUzI1NiJ9.e30"])("%s is no JWT", async (token) => {
    expect(await refusal(token)).toMatch(
      /^InvalidIdentityTokenException 400: (The ID Token|Missing a required claim: iss)/,
    );
  });

  test("is refused with another payload under the signature", async () => {
    const [header, , signature] = (await issuer.mint()).split(".");
    const [, payload] = (await issuer.mint({ sub: "agentkeys:wallet:0xdef" })).split(".");
    expect(await refusal([header, payload, signature].join("."))).toBe(badSignature);
  });

  test("is refused with an empty signature", async () => {
    const [header, payload] = (await issuer.mint()).split(".");
    expect(await refusal(`${header!}.${payload!}.`)).toBe(badSignature);
  });

  test("is refused when signed by another key under the issuer's kid", async () => {
    const token = await issuer.mint({}, await generateIssuerKey(), { kid: issuer.key.jwk.kid });
    expect(decodeProtectedHeader(token).kid).toBe(issuer.key.jwk.kid);
    expect(await refusal(token)).toBe(badSignature);
  });

  test("is refused with alg none, or HMAC over the public key", async () => {
    const payload = (await issuer.mint()).split(".")[1]!;
    const header = (alg: string) => Buffer.from(JSON.stringify({ alg, kid: issuer.key.jwk.kid })).toString("base64url");
    expect(await refusal(`${header("none")}.${payload}.`)).toBe(notJwt);
    const signed = `${header("HS256")}.${payload}`;
    const mac = createHmac("sha256", JSON.stringify(issuer.key.jwk)).update(signed).digest("base64url");
    expect(await refusal(`${signed}.${mac}`)).toBe(notJwt);
  });

  test.each(["EdDSA", "PS256"])("is refused with %s, which AWS does not take", async (alg) => {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
    const jwk = { ...(await exportJWK(publicKey)), kid: "k", alg };
    issuer.keys = [jwk];
    expect(await refusal(await issuer.mint({}, { alg, privateKey, jwk }))).toBe(notJwt);
  });

  test("is refused when its kid is not published, or there twice", async () => {
    const stranger = await generateIssuerKey();
    expect(await refusal(await issuer.mint({}, stranger))).toBe(noKey());
    issuer.keys = [issuer.key.jwk, issuer.key.jwk];
    expect(await refusal(await issuer.mint())).toBe(noKey());
  });

  test("works with the key that has just been published, and no more with the one taken away", async () => {
    const next = await generateIssuerKey();
    issuer.keys = [next.jwk, issuer.key.jwk];
    expect([await refusal(await issuer.mint()), await refusal(await issuer.mint({}, next))]).toEqual([
      "accepted",
      "accepted",
    ]);
    issuer.keys = [next.jwk];
    expect(await refusal(await issuer.mint())).toBe(noKey());
  });
});

describe("a token whose claims do not fit", () => {
  test.each(["aud", "sub", "iat", "exp"])("is refused without %s", async (claim) => {
    expect(await refusal(await issuer.mint({ [claim]: undefined }))).toBe(
      `InvalidIdentityTokenException 400: Missing a required claim: ${claim}`,
    );
  });

  test("is refused six minutes after its end", async () => {
    expect(await refusal(await issuer.mint({ exp: SECONDS - 301 }))).toBe(
      `ExpiredTokenException 400: Token expired: current date/time ${SECONDS} must be before the expiration date/time ${SECONDS - 301}`,
    );
  });

  test.each([{ iat: SECONDS + 301 }, { nbf: SECONDS + 301 }])("is refused before its time: %o", async (claims) => {
    expect(await refusal(await issuer.mint(claims))).toContain("The token is not valid yet");
  });

  test("is refused for another audience", async () => {
    expect(await refusal(await issuer.mint({ aud: "else.example" }))).toBe(
      "InvalidIdentityTokenException 400: Incorrect token audience",
    );
  });

  test.each(["/", "/path"])("is refused from an issuer whose name differs by %s", async (suffix) => {
    const iss = issuer.url + suffix;
    expect(await refusal(await issuer.mint({ iss }))).toBe(
      `InvalidIdentityTokenException 400: No OpenIDConnect provider found in your account for ${iss}`,
    );
  });

  test("is refused with a subject of five characters", async () => {
    expect(await refusal(await issuer.mint({ sub: "short" }))).toContain("sub claim must have 6 to 255");
  });
});

describe("an issuer", () => {
  test.each([
    "issuer",
    "jwks_uri",
    "response_types_supported",
    "subject_types_supported",
    "id_token_signing_alg_values_supported",
  ])("whose discovery document lacks %s gives no key", async (member) => {
    issuer.discovery[member] = undefined;
    expect(await refusal(await issuer.mint())).toBe(noKey());
  });

  test("that calls itself otherwise in its discovery document gives no key", async () => {
    issuer.discovery["issuer"] = `${issuer.url}/`;
    expect(await refusal(await issuer.mint())).toBe(noKey());
  });

  test.each([
    { status: 404, body: "{}" },
    { status: 200, body: "no JSON" },
    { status: 200, body: "[]" },
    { status: 302, body: "" },
  ])("that answers $status $body gives no key", async (answer) => {
    issuer.answer = answer;
    expect(await refusal(await issuer.mint())).toBe(noKey());
  });

  test("that is in trouble cannot be spoken to", async () => {
    issuer.answer = { status: 503, body: "" };
    expect(await refusal(await issuer.mint())).toMatch(/^IDPCommunicationErrorException 400: /);
  });

  test("that does not answer in time cannot be spoken to", async () => {
    issuer.answer = "silence";
    await expect(fetchProviderKey(issuer.url, issuer.key.jwk.kid, 1)).rejects.toMatchObject({
      code: "IDPCommunicationError",
    });
  });

  test("that is gone cannot be spoken to", async () => {
    const gone = await startIssuer({ clock });
    await iam.createProvider(gone.url, ["sts.amazonaws.com"]);
    const token = await gone.mint();
    await gone.close();
    expect(await refusal(token)).toMatch(/^IDPCommunicationErrorException 400: /);
  });
});

const denied = "AccessDenied 403: Not authorized to perform sts:AssumeRoleWithWebIdentity";

describe("a role's trust policy", () => {
  test.each([
    ["another subject", { subject: "someone:else:*" }],
    ["another audience", { audience: "other.example" }],
    ["another provider", { provider: "arn:aws:iam::123456789012:oidc-provider/elsewhere" }],
    ["a tag that this token lacks", { requiredTag: "team" }],
  ])("that wants %s refuses", async (_, other) => {
    const name = `role-${_.replaceAll(" ", "-")}`;
    const base = { provider: iam.providerArn(issuer.url), issuer: issuer.url };
    await iam.createRole(name, trustPolicy({ ...base, ...other }));
    expect(await refusal(await issuer.mint(), { RoleArn: iam.roleArn(name) })).toBe(denied);
  });

  test("without sts:TagSession takes a token without tags only", async () => {
    const base = { provider: iam.providerArn(issuer.url), issuer: issuer.url };
    await iam.createRole("untagged", trustPolicy({ ...base, actions: ["sts:AssumeRoleWithWebIdentity"] }));
    const RoleArn = iam.roleArn("untagged");
    expect(await refusal(await issuer.mint(), { RoleArn })).toBe("accepted");
    expect(await refusal(await issuer.mint(tags({ team: ["a"] })), { RoleArn })).toBe(denied);
  });

  test("can ask for the presence of a tag", async () => {
    const base = { provider: iam.providerArn(issuer.url), issuer: issuer.url };
    await iam.createRole("tagged", trustPolicy({ ...base, requiredTag: "team" }));
    expect(await refusal(await issuer.mint(tags({ team: ["a"] })), { RoleArn: iam.roleArn("tagged") })).toBe(
      "accepted",
    );
  });

  test("cannot ask about claims of the issuer's own", async () => {
    const policy = trustPolicy({ provider: iam.providerArn(issuer.url), issuer: issuer.url });
    const name = issuer.url.replace("http://", "");
    policy.Statement[0]!.Condition = { StringEquals: { [`${name}:team`]: "a" } };
    await iam.createRole("claims", policy);
    expect(await refusal(await issuer.mint({ team: "a" }), { RoleArn: iam.roleArn("claims") })).toBe(denied);
  });

  test("is not told from a role that is not there", async () => {
    expect(await refusal(await issuer.mint(), { RoleArn: iam.roleArn("nobody") })).toBe(denied);
  });
});

describe("session tags", () => {
  test("count towards the packed size", async () => {
    const { SessionTokenUtilization } = await assume(await issuer.mint(tags({ team: ["a".repeat(200)] }, ["team"])));
    expect(SessionTokenUtilization).toBe(Math.ceil((100 * (200 + 4 + 4)) / 4096));
  });

  test("may come in the flattened form", async () => {
    const claims = { [`${TAGS_CLAIM}/principal_tags/team`]: "a", [`${TAGS_CLAIM}/transitive_tag_keys`]: ["team"] };
    expect(await refusal(await issuer.mint(claims))).toBe("accepted");
  });

  test("that are too large together are refused by their packed size", async () => {
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`k${i}`, ["v".repeat(256)]]));
    expect(await refusal(await issuer.mint(tags(many)))).toMatch(
      /^PackedPolicyTooLargeException 400: .* \d{3}% of allotted space/,
    );
  });

  test.each([
    ["51 of them", tags(Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`k${i}`, ["v"]])))],
    ["a key of 129 characters", tags({ ["k".repeat(129)]: ["v"] })],
    ["an empty key", tags({ "": ["v"] })],
    ["a value of 257 characters", tags({ k: ["v".repeat(257)] })],
    ["a character outside the set", tags({ k: ["v*"] })],
    ["a reserved key", tags({ "aws:k": ["v"] })],
    ["keys that differ by case only", tags({ k: ["v"], K: ["v"] })],
    ["two values for a key", tags({ k: ["v", "w"] })],
    ["no value for a key", tags({ k: [] })],
    ["a value outside a list", tags({ k: "v" })],
    ["a transitive key that is no tag", tags({ k: ["v"] }, ["other"])],
    ["something other than an object", { [TAGS_CLAIM]: "k=v" }],
  ])("are refused: %s", async (_, claims) => {
    expect(await refusal(await issuer.mint(claims))).toMatch(/^InvalidIdentityTokenException 400: /);
  });
});

describe("a parameter out of bounds", () => {
  test.each<[string, string, Overrides]>([
    ["roleArn", "too short", { RoleArn: "arn:short" }],
    ["roleSessionName", "too short", { RoleSessionName: "s" }],
    ["roleSessionName", "too long", { RoleSessionName: "s".repeat(65) }],
    ["roleSessionName", "with a space", { RoleSessionName: "a b" }],
    ["durationSeconds", "too short", { DurationSeconds: 899 }],
    ["durationSeconds", "too long", { DurationSeconds: 43_201 }],
    ["policy", "too long", { Policy: "x".repeat(2049) }],
    ["policy", "outside Latin-1", { Policy: "\u4e00" }],
    ["ProviderId", "beside an ID token", { ProviderId: "graph.facebook.com" }],
  ])("%s, %s, is a ValidationError that names it", async (name, _, overrides) => {
    const answer = await refusal(await issuer.mint(), overrides);
    expect(answer).toMatch(/^ValidationError 400: /);
    expect(answer).toContain(name);
  });

  test("a token of 20,001 characters is refused and not repeated", async () => {
    const answer = await refusal("x".repeat(20_001));
    expect(answer).toMatch(/^ValidationError 400: .*'webIdentityToken'.*less than or equal to 20000/);
    expect(answer).not.toContain("xxx");
  });

  test("a session policy that is no policy is malformed", async () => {
    expect(await refusal(await issuer.mint(), { Policy: "{" })).toMatch(/^MalformedPolicyDocumentException 400: /);
    expect(await refusal(await issuer.mint(), { Policy: '{"Version":"2008-10-17","Statement":[]}' })).toMatch(
      /^MalformedPolicyDocumentException 400: Version/,
    );
  });

  test("every mistake is told at once", async () => {
    expect(await refusal("abc", { RoleArn: "x", RoleSessionName: "a" })).toMatch(
      /^ValidationError 400: 3 validation errors detected/,
    );
  });
});

describe("errors that only the real AWS has cause for", () => {
  test.each([
    ["IDPRejectedClaim", 403, "IDPRejectedClaimException"],
    ["RegionDisabledException", 403, "RegionDisabledException"],
    ["Throttling", 400, "Throttling"],
    ["InternalFailure", 500, "InternalFailure"],
  ])("%s can be had once on demand", async (code, status, name) => {
    aws.failNext(new AwsError(code, status, "scripted"));
    expect(await refusal(await issuer.mint())).toBe(`${name} ${status}: scripted`);
    expect(await refusal(await issuer.mint())).toBe("accepted");
  });
});

test("an answer is AWS's XML", async () => {
  const answer = await fetch(aws.url, {
    method: "POST",
    body: new URLSearchParams({
      Action: "AssumeRoleWithWebIdentity",
      Version: "2011-06-15",
      RoleArn: iam.roleArn("agent"),
      RoleSessionName: "session",
      WebIdentityToken: await issuer.mint(),
    }),
  });
  const text = await answer.text();
  expect(text).toContain('<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">');
  expect(text.replace(/<(\w+)>[^<]+<\/\1>/g, "<$1/>")).toContain(
    "<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId/><SecretAccessKey/><SessionToken/><Expiration/></Credentials>" +
      "<SubjectFromWebIdentityToken/><AssumedRoleUser><AssumedRoleId/><Arn/></AssumedRoleUser><PackedPolicySize/>",
  );
  expect(text).toMatch(/<Expiration>2030-01-02T04:04:05Z<\/Expiration>/);
});

test("an operation that the stand-in does not have is refused by name", async () => {
  const answer = await fetch(aws.url, {
    method: "POST",
    body: new URLSearchParams({ Action: "AssumeRole", Version: "2011-06-15" }),
  });
  expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining("<Code>InvalidAction</Code>")]);
});
