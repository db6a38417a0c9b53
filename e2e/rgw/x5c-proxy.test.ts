import { X509Certificate } from "node:crypto";

import { importX509, jwtVerify } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { startIssuer, type TestIssuer } from "../harness/issuer.ts";
import { startX5cProxy, type X5cProxy } from "./x5c-proxy.ts";

let issuer: TestIssuer;
let proxy: X5cProxy;

beforeEach(async () => {
  [issuer, proxy] = await Promise.all([startIssuer({ clock: Date.now }), startX5cProxy()]);
});
afterEach(() => Promise.all([issuer.close(), proxy.close()]));

describe("the proxy that adds certificates", () => {
  test("puts one over each published key, by which the issuer's own tokens verify", async () => {
    proxy.forwardTo(issuer.url);
    const { keys } = (await (await fetch(`${proxy.url}/.well-known/jwks.json`)).json()) as {
      keys: { x5c: string[] }[];
    };
    const [published] = keys;
    const certificate = new X509Certificate(Buffer.from(published!.x5c[0]!, "base64"));
    const verified = await jwtVerify(await issuer.mint(), await importX509(certificate.toString(), "ES256"));
    expect(verified.payload.iss).toBe(issuer.url);
    expect(published).toMatchObject(issuer.key.jwk);
  });

  test("passes everything else on as it is", async () => {
    proxy.forwardTo(issuer.url);
    expect(await (await fetch(`${proxy.url}/.well-known/openid-configuration`)).json()).toEqual(issuer.discovery);
    expect((await fetch(`${proxy.url}/elsewhere`)).status).toBe(404);
    issuer.answer = { status: 503, body: "no" };
    const refused = await fetch(`${proxy.url}/.well-known/jwks.json`);
    expect([refused.status, await refused.text()]).toEqual([503, "no"]);
  });

  test("answers 502 before it knows the broker, and when the broker is gone", async () => {
    expect((await fetch(proxy.url)).status).toBe(502);
    const gone = await startIssuer({ clock: Date.now });
    await gone.close();
    proxy.forwardTo(gone.url);
    expect((await fetch(proxy.url)).status).toBe(502);
  });
});
