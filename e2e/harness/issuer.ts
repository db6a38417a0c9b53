import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";

import type { Clock } from "@agentkeys/lib/clock";

/** A signing key of an issuer of our own, and its public half as published. */
export interface IssuerKey {
  alg: string;
  privateKey: CryptoKey;
  jwk: JWK & { kid: string };
}

/** An OpenID Connect issuer that a test bends as it likes: what it publishes is read anew for every request. */
export interface TestIssuer {
  url: string;
  key: IssuerKey;
  /** Members of the discovery document; `undefined` takes one out. */
  discovery: Record<string, unknown>;
  /** The published key set. */
  keys: JWK[];
  /** Answers every request instead of the documents, or never answers with `"silence"`. */
  answer: { status: number; body: string } | "silence" | undefined;
  /** A token that AWS takes; `claims` replace its claims, `undefined` takes one out. */
  mint(claims?: JWTPayload, by?: IssuerKey, header?: { kid?: string }): Promise<string>;
  close(): Promise<void>;
}

export async function generateIssuerKey(alg = "ES256"): Promise<IssuerKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  return { alg, privateKey, jwk: { ...jwk, kid: await calculateJwkThumbprint(jwk), use: "sig", alg } };
}

export async function startIssuer(o: { clock: Clock }): Promise<TestIssuer> {
  const key = await generateIssuerKey();
  const server = createServer((request, response) => {
    const { answer } = issuer;
    if (answer === "silence") return;
    const document =
      request.url === "/.well-known/openid-configuration"
        ? issuer.discovery
        : request.url === "/.well-known/jwks.json"
          ? { keys: issuer.keys }
          : undefined;
    response.writeHead(answer?.status ?? (document === undefined ? 404 : 200), { "content-type": "application/json" });
    response.end(answer?.body ?? JSON.stringify(document));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const issuer: TestIssuer = {
    url,
    key,
    keys: [key.jwk],
    answer: undefined,
    discovery: {
      issuer: url,
      jwks_uri: `${url}/.well-known/jwks.json`,
      response_types_supported: ["id_token"],
      subject_types_supported: ["public"],
      id_token_signing_alg_values_supported: ["ES256"],
    },
    mint(claims, by = key, header) {
      const now = Math.floor(o.clock() / 1000);
      const standard = { iss: url, aud: "sts.amazonaws.com", sub: "agentkeys:wallet:0xabc", iat: now, exp: now + 300 };
      return new SignJWT({ ...standard, ...claims })
        .setProtectedHeader({ alg: by.alg, kid: by.jwk.kid, ...header })
        .sign(by.privateKey);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return issuer;
}
