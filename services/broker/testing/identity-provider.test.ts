/* eslint-disable @typescript-eslint/no-deprecated -- `allowInsecureRequests` is marked so by its authors to make people think */
import { existsSync } from "node:fs";

import { decodeProtectedHeader } from "jose";
import * as oidc from "openid-client";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { type FakeGithub, startFakeGithub } from "./fake-github.ts";
import { startTestProvider, type TestProvider } from "./identity-provider.ts";

const CALLBACK = "http://127.0.0.1:9/callback";
const CHROMIUM = "/usr/bin/chromium";
let provider: TestProvider;
beforeAll(async () => {
  provider = await startTestProvider();
  provider.allowRedirect(CALLBACK);
});
afterAll(() => provider.close());
beforeEach(() => {
  provider.outage = false;
  provider.idTokenLies = {};
  delete provider.answersAs;
});

async function begin({ pkce = true, redirectUri = CALLBACK } = {}) {
  const { issuer, clientId, clientSecret } = provider;
  const options = { execute: [oidc.allowInsecureRequests, oidc.enableNonRepudiationChecks] };
  const config = await oidc.discovery(new URL(issuer), clientId, clientSecret, undefined, options);
  const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
  const [expectedState, expectedNonce] = [oidc.randomState(), oidc.randomNonce()];
  const challenge = await oidc.calculatePKCECodeChallenge(pkceCodeVerifier);
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: "openid email profile",
    state: expectedState,
    nonce: expectedNonce,
    ...(pkce ? { code_challenge: challenge, code_challenge_method: "S256" } : {}),
  });
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true };
  return { url, config, redeem: (callback: URL) => oidc.authorizationCodeGrant(config, callback, checks) };
}

const keyOf = (tokens: { id_token?: string | undefined }) => decodeProtectedHeader(tokens.id_token!).kid;

test("whoever types a name is that person, with an address and a name", async () => {
  const { url, config, redeem } = await begin();
  expect(config.serverMetadata().authorization_response_iss_parameter_supported).toBe(true);
  const callback = await provider.authorize(url, { sub: "ada" });
  expect(callback.href.startsWith(`${CALLBACK}?`)).toBe(true);
  expect(callback.searchParams.get("iss")).toBe(provider.issuer);
  const tokens = await redeem(callback);
  expect(decodeProtectedHeader(tokens.id_token!).alg).toBe("ES256");
  expect(tokens.claims()).toMatchObject({
    iss: provider.issuer,
    sub: "ada",
    email: "ada@example.com",
    email_verified: true,
    name: "The person ada",
  });
});

test("who refuses is sent back with the error", async () => {
  const { url, redeem } = await begin();
  const callback = await provider.authorize(url, "refuse");
  expect(callback.searchParams.get("code")).toBeNull();
  await expect(redeem(callback)).rejects.toMatchObject({ error: "access_denied" });
});

test("a code is good once", async () => {
  const { url, redeem } = await begin();
  const callback = await provider.authorize(url, { sub: "ada" });
  await redeem(callback);
  await expect(redeem(callback)).rejects.toMatchObject({ error: "invalid_grant" });
});

test("new keys sign what is redeemed after them, for a visit that began before, and nobody sees the old ones again", async () => {
  const before = await begin();
  const oldKey = keyOf(await before.redeem(await provider.authorize(before.url, { sub: "ada" })));
  const { url, redeem } = await begin();
  const callback = await provider.authorize(url, { sub: "ada" });
  await provider.rotateKeys();
  const newKey = keyOf(await redeem(callback));
  expect(newKey).not.toBe(oldKey);
  const { keys } = (await (await fetch(`${provider.issuer}/jwks`)).json()) as { keys: { kid: string }[] };
  expect(keys.map(({ kid }) => kid)).toEqual([newKey]);
});

test("without PKCE nobody gets a code", async () => {
  const { url } = await begin({ pkce: false });
  const callback = await provider.authorize(url, { sub: "ada" });
  expect(callback.searchParams.get("error")).toBe("invalid_request");
});

test("nobody is sent to an address before it is allowed", async () => {
  const redirectUri = "http://127.0.0.1:9/later";
  const { url } = await begin({ redirectUri });
  await expect(provider.authorize(url, { sub: "ada" })).rejects.toThrow("the provider answered 400");
  provider.allowRedirect(redirectUri);
  expect((await provider.authorize(url, { sub: "ada" })).pathname).toBe("/later");
});

describe("what it can be made to lie about is noticed", () => {
  test("the issuer in the answer", async () => {
    provider.answersAs = "https://other.example";
    const { url, redeem } = await begin();
    const callback = await provider.authorize(url, { sub: "ada" });
    expect(callback.searchParams.get("iss")).toBe("https://other.example");
    await expect(redeem(callback)).rejects.toMatchObject({
      cause: { message: expect.stringContaining('"iss"') as string },
    });
  });

  test.each([
    ["iss", { iss: "https://other.example" }],
    ["aud", { aud: "another-client" }],
    ["nonce", { nonce: "another" }],
    ["nonce", { nonce: undefined }],
    ["exp", { exp: 1_000_000_000 }],
  ])("%s in the ID token: %j", async (claim, lies) => {
    provider.idTokenLies = lies;
    const { url, redeem } = await begin();
    const error: unknown = await redeem(await provider.authorize(url, { sub: "ada" })).catch((each: unknown) => each);
    expect(String((error as Error).cause)).toContain(`"${claim}"`);
  });

  test("but not by the signature, which stays good", async () => {
    provider.idTokenLies = { name: "Somebody Else" };
    const { url, redeem } = await begin();
    expect((await redeem(await provider.authorize(url, { sub: "ada" }))).claims()?.name).toBe("Somebody Else");
  });

  test("that it is there at all", async () => {
    const { url } = await begin();
    provider.outage = true;
    expect((await fetch(url)).status).toBe(503);
    await expect(begin()).rejects.toThrow();
  });
});

describe.skipIf(!existsSync(CHROMIUM))(`its pages in a real browser (skipped where ${CHROMIUM} is missing)`, () => {
  test("are pressed through, and load nothing from anywhere else", async () => {
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
    try {
      for (const button of ["Continue", "Cancel"]) {
        const page = await (await browser.newContext()).newPage();
        const asked: string[] = [];
        page.on("request", (request) => asked.push(new URL(request.url()).origin));
        await page.route(`${CALLBACK}**`, (route) => route.fulfill({ body: "back" }));
        const { url, redeem } = await begin();
        await page.goto(url.href);
        await page.getByLabel("Login").fill("ada");
        await page.getByRole("button", { name: "Log in" }).click();
        await page.getByRole("button", { name: button }).click();
        await page.waitForURL(`${CALLBACK}**`);
        const redeemed = redeem(new URL(page.url()));
        if (button === "Continue") expect((await redeemed).claims()?.sub).toBe("ada");
        else await expect(redeemed).rejects.toMatchObject({ error: "access_denied" });
        expect(new Set(asked)).toEqual(new Set([provider.issuer, new URL(CALLBACK).origin]));
      }
    } finally {
      await browser.close();
    }
  });
});

describe("the stand-in for GitHub", () => {
  let github: FakeGithub;
  beforeAll(async () => {
    github = await startFakeGithub({ redirectUris: [CALLBACK] });
  });
  afterAll(() => github.close());
  const verifier = oidc.randomPKCECodeVerifier();

  async function ask(changed: Record<string, string> = {}): Promise<Response> {
    const url = new URL(`${github.baseUrl}/login/oauth/authorize`);
    const code_challenge = await oidc.calculatePKCECodeChallenge(verifier);
    const query = { client_id: github.clientId, redirect_uri: CALLBACK, state: "s", code_challenge };
    url.search = new URLSearchParams({ ...query, code_challenge_method: "S256", ...changed }).toString();
    return fetch(url, { redirect: "manual" });
  }
  const sentBack = (response: Response) => new URL(response.headers.get("location")!).searchParams;
  async function redeem(code: string, changed: Record<string, string> = {}): Promise<Record<string, string>> {
    const { clientId: client_id, clientSecret: client_secret, baseUrl } = github;
    const form = { client_id, client_secret, code, code_verifier: verifier, redirect_uri: CALLBACK, ...changed };
    const headers = { accept: "application/json" };
    const init = { method: "POST", headers, body: new URLSearchParams(form) };
    return (await (await fetch(`${baseUrl}/login/oauth/access_token`, init)).json()) as Record<string, string>;
  }

  test("says who came, once for each code", async () => {
    github.user = { id: 42, login: "ada", name: "Ada" };
    const answer = sentBack(await ask());
    expect(answer.get("state")).toBe("s");
    const { access_token } = await redeem(answer.get("code")!);
    const user = await fetch(`${github.baseUrl}/api/v3/user`, { headers: { authorization: `Bearer ${access_token}` } });
    expect(await user.json()).toEqual({ id: 42, login: "ada", name: "Ada" });
    expect(await redeem(answer.get("code")!)).toEqual({ error: "bad_verification_code" });
    expect((await fetch(`${github.baseUrl}/api/v3/user`)).status).toBe(401);
  });

  test("writes a form to those who do not ask for JSON", async () => {
    const response = await fetch(`${github.baseUrl}/login/oauth/access_token`, { method: "POST" });
    expect(await response.text()).toBe("error=incorrect_client_credentials");
  });

  test.each([
    ["incorrect_client_credentials", { client_id: "other" }],
    ["incorrect_client_credentials", { client_secret: "other" }],
    ["bad_verification_code", { code_verifier: "other" }],
    ["redirect_uri_mismatch", { redirect_uri: "http://127.0.0.1:9/other" }],
  ])("refuses with %s: %j", async (error, changed) => {
    expect(await redeem(sentBack(await ask()).get("code")!, changed)).toEqual({ error });
  });

  test.each([{ client_id: "other" }, { redirect_uri: "http://127.0.0.1:9/other" }, { code_challenge_method: "plain" }])(
    "sends nobody back for %j",
    async (changed) => {
      expect((await ask(changed)).headers.get("location")).toBeNull();
    },
  );

  test("lets a person say no", async () => {
    github.refuses = true;
    const answer = sentBack(await ask());
    expect([answer.get("error"), answer.get("code"), answer.get("state")]).toEqual(["access_denied", null, "s"]);
    github.refuses = false;
  });
});
