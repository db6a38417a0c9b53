import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { performance } from "node:perf_hooks";

import { exportJWK, generateKeyPair, SignJWT } from "jose";

/**
 * As much of an OpenID Connect provider as a broker speaks to, and as little work as that can be: nobody is asked anything, and every code
 * is good. What the broker waits for it can be taken off what the broker takes.
 */
export interface StubProvider {
  issuer: string;
  /** For AGENTKEYS_BROKER_OAUTH_PROVIDERS. */
  settings: string;
  /** Where it would send a browser back to that the broker has sent to it, as the person called `sub`. */
  answer(authorizationUrl: URL, sub: string): URL;
  /** How long it has worked on answers, in milliseconds. */
  readonly workedMs: number;
  close(): void;
}

export async function startStubProvider(): Promise<StubProvider> {
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: "1", alg: "ES256", use: "sig" };
  const idToken = async (code: string): Promise<string> => {
    const { sub, nonce } = JSON.parse(Buffer.from(code, "base64url").toString()) as { sub: string; nonce: string };
    return new SignJWT({ nonce })
      .setProtectedHeader({ alg: "ES256", kid: "1" })
      .setIssuer(issuer)
      .setAudience("broker")
      .setSubject(sub)
      .setIssuedAt()
      .setExpirationTime("5m")
      .sign(privateKey);
  };
  const documents: Record<string, (body: string) => object | Promise<object>> = {
    "/.well-known/openid-configuration": () => ({
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/keys`,
      response_types_supported: ["code"],
      subject_types_supported: ["public"],
      id_token_signing_alg_values_supported: ["ES256"],
      authorization_response_iss_parameter_supported: true,
    }),
    "/keys": () => ({ keys: [jwk] }),
    "/token": async (body) => ({
      access_token: "none",
      token_type: "Bearer",
      id_token: await idToken(new URLSearchParams(body).get("code") ?? ""),
    }),
  };
  let worked = 0;
  const server = createServer((request, response) => {
    const begun = performance.now();
    void request.toArray().then(async (chunks: Buffer[]) => {
      const document = await documents[request.url ?? ""]?.(Buffer.concat(chunks).toString());
      response.writeHead(document === undefined ? 404 : 200, { "content-type": "application/json" });
      response.end(JSON.stringify(document));
      worked += performance.now() - begun;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    issuer,
    settings: JSON.stringify({ stub: { issuer, client_id: "broker", client_secret: "a-secret-that-opens-nothing" } }),
    answer: ({ searchParams }, sub) => {
      const back = new URL(searchParams.get("redirect_uri") ?? "");
      const code = Buffer.from(JSON.stringify({ sub, nonce: searchParams.get("nonce") })).toString("base64url");
      back.search = new URLSearchParams({ code, state: searchParams.get("state") ?? "", iss: issuer }).toString();
      return back;
    },
    get workedMs() {
      return worked;
    },
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
