import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from "jose";
import type { Configuration, KoaContextWithOIDC } from "oidc-provider";

import { createTestBrowser } from "./browser.ts";
import { createProviderMemory } from "./identity-provider-memory.ts";
import { answerInteraction } from "./identity-provider-pages.ts";

/** A real OpenID Connect provider on a loopback port, with one client and whoever types a name. */
export interface TestProvider {
  issuer: string;
  clientId: string;
  clientSecret: string;
  /** Where its client's people may be sent back to. */
  allowRedirect(uri: string): void;
  /**
   * Logs in and agrees there as a browser of its own would, or logs in and refuses. Resolves to where the person is sent back to, with
   * code or error, which is not asked for. Throws when the provider shows its own error instead.
   */
  authorize(authorizationUrl: string | URL, as: { sub: string } | "refuse"): Promise<URL>;
  /** Throws its signing keys away and makes new ones; codes, logins and visits that are under way stay good. */
  rotateKeys(): Promise<void>;
  /** While it is true, every request is answered 503. */
  outage: boolean;
  /** What it puts into the answer as `iss` (RFC 9207) instead of its own name. */
  answersAs?: string;
  /** Put over the claims of each ID token, which is signed as ever: another `iss`, `aud` or `nonce`, a past `exp`; undefined omits. */
  idTokenLies: Record<string, unknown>;
  /** Asked for this path, it answers with that instead. */
  readonly lies: Map<string, unknown>;
  close(): Promise<void>;
}

/** What the provider knows from the start. */
export interface TestProviderOptions {
  redirectUris?: string[];
  /** A free one unless given. */
  port?: number;
}

const CLIENT = { clientId: "broker", clientSecret: "a-secret-that-only-tests-know" };
const LIFE = 3600;
const Provider = await importProvider();

/** Starts a provider in this process. */
export async function startTestProvider({
  redirectUris = [],
  port = 0,
}: TestProviderOptions = {}): Promise<TestProvider> {
  let handle: (req: IncomingMessage, res: ServerResponse) => void = () => undefined;
  const server = createServer((req, res) => {
    if (test.outage) {
      res.writeHead(503).end();
      return;
    }
    const lie = test.lies.get(req.url ?? "");
    if (lie !== undefined) {
      res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(lie));
      return;
    }
    handle(req, res);
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const redirects = [...redirectUris];
  const adapter = createProviderMemory((clientId) => (clientId === CLIENT.clientId ? client(redirects) : undefined));
  let keysMade = 0;
  /** A provider's keys are fixed when it is made: another takes its place, with the same memory. */
  const makeKeys = async (): Promise<void> => {
    const { privateKey } = await generateKeyPair("ES256", { extractable: true });
    keysMade += 1;
    const key = { ...(await exportJWK(privateKey)), alg: "ES256", use: "sig", kid: `key-${keysMade}` };
    const provider = new Provider(issuer, configuration(key, adapter));
    provider.on("server_error", (_context, error) => process.stderr.write(`test provider: ${error.message}\n`));
    provider.use(async (context: KoaContextWithOIDC, next) => {
      await next();
      if (test.answersAs !== undefined) lieAboutIssuer(context, issuer, test.answersAs);
      if (Object.keys(test.idTokenLies).length > 0) await lieInIdToken(context, key, test.idTokenLies);
    });
    const callback = provider.callback();
    handle = (req, res) => {
      if (!answerInteraction(provider, req, res)) void callback(req, res);
    };
  };
  const test: TestProvider = {
    issuer,
    ...CLIENT,
    outage: false,
    idTokenLies: {},
    lies: new Map(),
    allowRedirect: (uri) => void redirects.push(uri),
    authorize: (url, as) => visit(issuer, url, as),
    rotateKeys: makeKeys,
    close: () => stop(server),
  };
  await makeKeys();
  return test;
}

/** It warns on import that it is not supported on Node 20, where it works; whatever else it has to say is let through. */
async function importProvider(): Promise<(typeof import("oidc-provider"))["default"]> {
  const { warn } = console;
  console.warn = (...words: unknown[]) => {
    if (!String(words[0]).includes("Unsupported runtime")) warn(...words);
  };
  try {
    return (await import("oidc-provider")).default;
  } finally {
    console.warn = warn;
  }
}

/** Looked up at each request, since the broker's address is known only once it listens. */
function client(redirects: string[]): Record<string, unknown> {
  return {
    client_id: CLIENT.clientId,
    client_secret: CLIENT.clientSecret,
    // A client without any is not valid.
    redirect_uris: redirects.length === 0 ? ["http://127.0.0.1/none"] : [...redirects],
    grant_types: ["authorization_code"],
    response_types: ["code"],
    id_token_signed_response_alg: "ES256",
    application_type: "native",
  };
}

function configuration(key: JWK, adapter: NonNullable<Configuration["adapter"]>): Configuration {
  return {
    adapter,
    jwks: { keys: [key] },
    cookies: { keys: ["test"] },
    // Its own pages load a font from the net.
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
    pkce: { required: () => true },
    ttl: { AccessToken: LIFE, IdToken: LIFE, Session: LIFE, Grant: LIFE, Interaction: LIFE },
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    // Google and others put the claims of the scopes into the ID token, too.
    conformIdTokenClaims: false,
    renderError: (context, out) => {
      context.type = "text/plain";
      context.body = `${out.error}: ${out.error_description ?? ""}`;
    },
    findAccount: (_context, sub) => ({
      accountId: sub,
      claims: () => ({ sub, email: `${sub}@example.com`, email_verified: true, name: `The person ${sub}` }),
    }),
  };
}

async function visit(issuer: string, start: string | URL, as: { sub: string } | "refuse"): Promise<URL> {
  const browser = createTestBrowser();
  browser.stopBefore = new RegExp(`^(?!${issuer.replaceAll(".", "\\.")}/)`);
  await browser.go(start);
  for (let page = 0; page < 3 && browser.url.origin === issuer && browser.status === 200; page++) {
    if (browser.html.includes('name="login"')) {
      await browser.submit("/login", { login: as === "refuse" ? "somebody" : as.sub });
    } else {
      await browser.submit(as === "refuse" ? "/abort" : "/consent");
    }
  }
  if (browser.url.origin === issuer) throw new Error(`the provider answered ${browser.status}: ${browser.html}`);
  return browser.url;
}

/** Changes the `iss` of the answer on its way to the browser. */
function lieAboutIssuer(context: KoaContextWithOIDC, issuer: string, other: string): void {
  // Not a string, as its type has it, when there is none.
  const location: unknown = context.response.get("location");
  if (typeof location !== "string") return;
  context.set("location", location.replace(`iss=${encodeURIComponent(issuer)}`, `iss=${encodeURIComponent(other)}`));
}

/** Signs the ID token of the answer anew, with claims that are not true. */
async function lieInIdToken(context: KoaContextWithOIDC, key: JWK, lies: Record<string, unknown>): Promise<void> {
  const body: unknown = context.body;
  if (typeof body !== "object" || body === null || !("id_token" in body)) return;
  const token = String(body.id_token);
  context.body = {
    ...body,
    id_token: await new SignJWT({ ...decodeJwt(token), ...lies })
      .setProtectedHeader({ ...decodeProtectedHeader(token), alg: "ES256" })
      .sign(await importJWK(key, "ES256")),
  };
}

function stop(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}
