import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";

import { expect, test } from "vitest";

import { oauthProviders } from "./provider-settings.ts";

const client = { client_id: "id", client_secret: "planted-secret" };
const read = (value: object) => oauthProviders(JSON.stringify(value));

test("Google and GitHub need a client only, any other provider its issuer too", () => {
  expect(
    read({ google: client, github: client, corp: { ...client, issuer: "https://corp.example/tenant/" } }),
  ).toMatchObject([
    { kind: "oidc", name: "google", title: "Google", url: "https://accounts.google.com", clientId: "id" },
    { kind: "github", name: "github", title: "GitHub", url: "https://github.com" },
    { kind: "oidc", name: "corp", title: "corp", url: "https://corp.example/tenant/" },
  ]);
});

test("they may stand in a file", () => {
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-providers-"));
  const path = join(folder, "providers.json");
  writeFileSync(path, JSON.stringify({ google: client }));
  expect(oauthProviders(path)).toHaveLength(1);
  rmSync(folder, { recursive: true });
  expect(() => oauthProviders(path)).toThrow(/a file that can be read/);
});

test("a secret is printed nowhere", () => {
  expect(inspect(read({ google: client }), { depth: 9 })).not.toContain("planted-secret");
});

test.each([
  ["no JSON", '{"google": planted-secret', /JSON object/],
  ["a list", JSON.stringify([client]), /./],
  ["a name that is none", JSON.stringify({ "Corp Inc": client }), /lower-case/],
  ["no issuer", JSON.stringify({ corp: client }), /issuer of corp/],
  ["an issuer without TLS", JSON.stringify({ corp: { ...client, issuer: "http://corp.example" } }), /https URL/],
  ["an issuer with a query", JSON.stringify({ corp: { ...client, issuer: "https://corp.example?x" } }), /https URL/],
  ["no secret", JSON.stringify({ google: { client_id: "id" } }), /client_secret of google/],
  ["a number for a text", JSON.stringify({ google: { ...client, client_id: 5 } }), /client_id of google/],
  ["an unknown member", JSON.stringify({ google: { ...client, secret: "x" } }), /google that is none of/],
  ["an unknown kind", JSON.stringify({ google: { ...client, kind: "saml" } }), /kind of google/],
])("%s is refused, by name and without the secret", (_what, value, message) => {
  expect(() => oauthProviders(value)).toThrow(message);
  try {
    oauthProviders(value);
  } catch (error) {
    expect(String(error)).not.toContain("planted-secret");
  }
});
