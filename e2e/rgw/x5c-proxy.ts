import "reflect-metadata";

import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { PublicKey, X509CertificateGenerator } from "@peculiar/x509";
import type { JWK, JSONWebKeySet } from "jose";

/** Where a broker publishes its OIDC keys. */
const KEY_SET = "/.well-known/jwks.json";
const EC = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

/** A reverse proxy in front of a broker. */
export interface X5cProxy {
  /** The broker's public URL, and so the issuer of its tokens. */
  url: string;
  forwardTo(brokerUrl: string): void;
  close(): Promise<void>;
}

/**
 * RADOS Gateway takes a provider's key from a certificate (`x5c`, RFC 7517 section 4.7) and from nowhere else; AWS needs none,
 * and so the broker has none. This proxy passes everything on as it is, and puts a certificate into each published key: made
 * over the broker's public key, by an authority that nobody trusts or knows. What RGW then verifies is the broker's own
 * signature; the proxy never sees a private key.
 */
export async function startX5cProxy(): Promise<X5cProxy> {
  let upstream: URL | undefined;
  const certify = await createCertifier();
  const server = createServer((incoming, outgoing) => {
    if (upstream === undefined) return void outgoing.writeHead(502).end();
    const { method, headers, url } = incoming;
    const call = request(new URL(upstream), { method, headers, path: url }, (response) => {
      const isKeySet = url === KEY_SET && response.statusCode === 200;
      (isKeySet ? sendKeySet(response, outgoing, certify) : pass(response, outgoing)).catch(() => outgoing.destroy());
    });
    call.on("error", () => (outgoing.headersSent ? outgoing.destroy() : outgoing.writeHead(502).end()));
    outgoing.on("close", () => call.destroy());
    incoming.pipe(call);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    forwardTo: (url) => (upstream = new URL(url)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function pass(response: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  outgoing.writeHead(response.statusCode ?? 502, response.headers);
  return new Promise((resolve, reject) => {
    response.pipe(outgoing).on("finish", resolve).on("error", reject);
    response.on("error", reject);
  });
}

async function sendKeySet(
  response: IncomingMessage,
  outgoing: ServerResponse,
  certify: (key: JWK) => Promise<JWK>,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  const { keys } = JSON.parse(Buffer.concat(chunks).toString()) as JSONWebKeySet;
  outgoing.writeHead(200, { "content-type": "application/json" });
  outgoing.end(JSON.stringify({ keys: await Promise.all(keys.map(certify)) }));
}

async function createCertifier(): Promise<(key: JWK) => Promise<JWK>> {
  const authority = await crypto.subtle.generateKey(EC, false, ["sign", "verify"]);
  return async (key) => {
    const { kty, crv, x, y } = key;
    const certificate = await X509CertificateGenerator.create({
      serialNumber: "01",
      subject: "CN=broker signing key",
      issuer: "CN=throwaway authority of a test",
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + 24 * 60 * 60_000),
      signingAlgorithm: EC,
      signingKey: authority.privateKey,
      publicKey: new PublicKey(
        await crypto.subtle.exportKey(
          "spki",
          await crypto.subtle.importKey("jwk", { kty, crv, x, y } as JsonWebKey, EC, true, ["verify"]),
        ),
      ),
    });
    return { ...key, x5c: [Buffer.from(certificate.rawData).toString("base64")] };
  };
}
