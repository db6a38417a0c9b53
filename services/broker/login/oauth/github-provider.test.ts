import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { Secret } from "@agentkeys/lib/secret";

import { createGithubProvider } from "./github-provider.ts";
import { AnswerRefused, ConsentRefused, type IdentityProvider } from "./provider.ts";

// A stand-in: GitHub itself cannot run here. It answers as GitHub's documentation of OAuth apps says, on the paths of a GitHub
// Enterprise Server.
let server: Server;
let github: IdentityProvider;
let baseUrl: string;
const state = { challenge: "", user: { id: 42, login: "ada" } as unknown, status: 200, asked: [] as string[] };
beforeAll(async () => {
  server = createServer((req, res) => {
    void (async () => {
      const body = new URLSearchParams(Buffer.concat(await req.toArray()).toString());
      state.asked.push(req.url ?? "");
      const answer = (json: unknown): void => {
        res.writeHead(state.status, { "content-type": "application/json" }).end(JSON.stringify(json));
      };
      if (req.url === "/login/oauth/access_token") {
        const verified =
          createHash("sha256")
            .update(body.get("code_verifier") ?? "")
            .digest("base64url") === state.challenge;
        const good = body.get("client_secret") === "secret" && body.get("code") === "code" && verified;
        // GitHub says what is wrong with status 200.
        answer(good ? { access_token: "token" } : { error: "bad_verification_code" });
      } else if (req.url === "/api/v3/user" && req.headers.authorization === "Bearer token") {
        answer(state.user);
      } else {
        res.writeHead(404).end();
      }
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const settings = { name: "github", title: "GitHub", baseUrl, clientId: "client" };
  github = createGithubProvider({ ...settings, clientSecret: new Secret("secret") });
});
afterAll(() => server.close());
beforeEach(() => {
  state.user = { id: 42, login: "ada" };
  state.status = 200;
});

const request = {
  state: "state",
  nonce: "nonce",
  codeVerifier: "v".repeat(43),
  redirectUri: "https://broker.example/login/callback/github",
};
const callback = (query: string): URL => new URL(`${request.redirectUri}?${query}`);
const redeem = async (query = "code=code&state=state"): Promise<unknown> => {
  const url = await github.authorizationUrl(request);
  state.challenge = url.searchParams.get("code_challenge") ?? "";
  return github.redeem(callback(query), request).catch((error: unknown) => error);
};

test("the person is the number of their account, at that GitHub, called as they call themselves there", async () => {
  const url = await github.authorizationUrl(request);
  expect(Object.fromEntries(url.searchParams)).toMatchObject({
    client_id: "client",
    state: "state",
    redirect_uri: request.redirectUri,
    code_challenge_method: "S256",
  });
  expect(await redeem()).toEqual({ type: "oauth2", value: `${baseUrl}|42`, displayName: "ada" });
  state.user = { id: 42, login: { not: "a name" } };
  expect(await redeem()).toEqual({ type: "oauth2", value: `${baseUrl}|42`, displayName: "" });
});

test.each([
  ["another state", "code=code&state=other"],
  ["no code", "state=state"],
  ["two codes", "code=code&code=other&state=state"],
  ["a code that was used", "code=used&state=state"],
  ["an error", "error=server_error&state=state"],
])("%s proves nothing", async (_what, query) => {
  expect(await redeem(query)).toBeInstanceOf(AnswerRefused);
});

test("a person who says no is told apart", async () => {
  expect(await redeem("error=access_denied&state=state")).toBeInstanceOf(ConsentRefused);
  // Only with our state: anybody could end a sign-in otherwise.
  expect(await redeem("error=access_denied&state=other")).toBeInstanceOf(AnswerRefused);
});

test.each([{ id: "42" }, { id: 0 }, { id: 1.5 }, { login: "ada" }, [], null])(
  "an account without a number is nobody: %j",
  async (user) => {
    state.user = user;
    expect(await redeem()).toBeInstanceOf(AnswerRefused);
  },
);

test("when GitHub is down it says so", async () => {
  state.status = 502;
  const error = await redeem();
  expect(error).toBeInstanceOf(Failure);
  expect((error as Failure).reason).toBe(ErrorReason.PROVIDER_UNAVAILABLE);
});
