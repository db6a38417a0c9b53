import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { DAY } from "@agentkeys/lib/clock";
import { SettingsError } from "@agentkeys/lib/settings";

import { readBrokerSettings } from "./settings.ts";

const problems = (env: Record<string, string>): readonly string[] => {
  try {
    readBrokerSettings(env);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
};

/** What a broker needs that the world reaches. */
const outside = {
  AGENTKEYS_BROKER_SMTP_URL: "smtps://mail.example",
  AGENTKEYS_BROKER_MAIL_FROM: "keys@broker.example",
  AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY: "ab".repeat(32),
};

describe("the broker's settings", () => {
  test("need nothing on loopback", () => {
    expect(readBrokerSettings({})).toMatchObject({ listen: { host: "127.0.0.1", port: 8091 }, clientId: "agentkeys" });
  });

  test("off loopback need the public URL, mail and the encryption key, each named", () => {
    const named = problems({ AGENTKEYS_BROKER_LISTEN: "0.0.0.0:8091" }).map((line) => line.split(" ")[0]);
    expect(named).toEqual([
      "AGENTKEYS_BROKER_PUBLIC_URL",
      "AGENTKEYS_BROKER_SMTP_URL",
      "AGENTKEYS_BROKER_MAIL_FROM",
      "AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY",
    ]);
  });

  test("behind a proxy, on loopback under a public URL that is not, need the same", () => {
    const named = problems({ AGENTKEYS_BROKER_PUBLIC_URL: "https://broker.example" }).map((line) => line.split(" ")[0]);
    expect(named.sort()).toEqual(Object.keys(outside).sort());
    expect(problems({ ...outside, AGENTKEYS_BROKER_PUBLIC_URL: "https://broker.example" })).toEqual([]);
  });

  test.each([
    ["AGENTKEYS_BROKER_LISTEN", "8091"],
    ["AGENTKEYS_BROKER_LISTEN", "127.0.0.1:99999"],
    ["AGENTKEYS_BROKER_PUBLIC_URL", "https://broker.example/"],
    ["AGENTKEYS_BROKER_PUBLIC_URL", "http://broker.example"],
    ["AGENTKEYS_BROKER_PUBLIC_URL", "broker.example"],
    ["AGENTKEYS_BROKER_PUBLIC_URL", "https://Broker.example"],
    ["AGENTKEYS_BROKER_PUBLIC_URL", "https://broker.example:443"],
    ["AGENTKEYS_BROKER_ETHEREUM_RPC_URL", "http://node.example/v1/key"],
    ["AGENTKEYS_BROKER_ETHEREUM_RPC_URL", "wss://node.example"],
    ["AGENTKEYS_BROKER_ETHEREUM_RPC_URL", "https://user@node.example"],
    ["AGENTKEYS_BROKER_STORE", ":memory:"],
    ["AGENTKEYS_BROKER_STORE", "libsql://store.example"],
    ["AGENTKEYS_BROKER_MAIL_FROM", "AgentKeys"],
    ["AGENTKEYS_BROKER_MAIL_FROM", "AgentKeys <agentkeys@>"],
    ["AGENTKEYS_BROKER_AUDIENCES", ","],
    ["AGENTKEYS_BROKER_AUDIENCES", "sts.amazonaws.com, two words"],
    ["AGENTKEYS_BROKER_SMTP_URL", "https://mail.example"],
    ["AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY", "ab12"],
    ["AGENTKEYS_BROKER_SESSION_RENEWABLE_DAYS", "0"],
    ["AGENTKEYS_BROKER_SESSION_RENEWABLE_DAYS", "many"],
    ["AGENTKEYS_BROKER_TRUSTED_PROXIES", "everyone"],
    ["AGENTKEYS_BROKER_TRUSTED_PROXIES", "999.1.1.1"],
    ["AGENTKEYS_BROKER_TRUSTED_PROXIES", "10.0.0.0/33"],
    ["AGENTKEYS_BROKER_TRUSTED_PROXIES", "10.0.0.0/8/8"],
    ["AGENTKEYS_BROKER_TLS_CERT", "/nowhere/cert.pem"],
    ["AGENTKEYS_BROKER_LOG_LEVEL", "loud"],
    ["AGENTKEYS_CLIENT_ID", "two words"],
  ])("%s=%s is refused in one line that names it", (name, value) => {
    const lines = problems({ ...outside, [name]: value });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(new RegExp(`^${name} `));
  });

  test("take what is right", () => {
    const settings = readBrokerSettings({
      ...outside,
      AGENTKEYS_BROKER_LISTEN: "[::1]:0",
      AGENTKEYS_BROKER_PUBLIC_URL: "https://broker.example",
      AGENTKEYS_BROKER_STORE: "/var/lib/agentkeys/broker.sqlite",
      AGENTKEYS_BROKER_MAIL_FROM: "Büro <keys@bücher.example>",
      AGENTKEYS_BROKER_AUDIENCES: "sts.amazonaws.com, https://other.example",
      AGENTKEYS_BROKER_TRUSTED_PROXIES: "10.0.0.0/8, 192.0.2.1, fd00::/8, ::1",
      AGENTKEYS_BROKER_SESSION_RENEWABLE_DAYS: "7",
    });
    expect(settings).toMatchObject({
      publicUrl: "https://broker.example",
      store: "/var/lib/agentkeys/broker.sqlite",
      audiences: ["sts.amazonaws.com", "https://other.example"],
      trustedProxies: ["10.0.0.0/8", "192.0.2.1", "fd00::/8", "::1"],
      renewableMs: 7 * DAY,
    });
  });

  test("a certificate and a key that are none, or alone, are refused", () => {
    const [cert, key] = ["AGENTKEYS_BROKER_TLS_CERT", "AGENTKEYS_BROKER_TLS_KEY"];
    const someFile = fileURLToPath(import.meta.url);
    expect(problems({ [cert]: someFile })).toEqual([`${cert} and ${key} must be set together`]);
    expect(problems({ [cert]: someFile, [key]: someFile })).toEqual([
      `${cert} and ${key} must be PEM files that belong together`,
    ]);
  });

  test("a misspelt name is refused with the right one", () => {
    expect(problems({ AGENTKEYS_BROKER_LISTENS: "x" })[0]).toContain("Did you mean AGENTKEYS_BROKER_LISTEN?");
  });

  test("a secret that does not parse is not repeated", () => {
    expect(problems({ AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY: "canary-secret" }).join()).not.toContain("canary");
    expect(problems({ AGENTKEYS_BROKER_SMTP_URL: "canary:secret" }).join()).not.toContain("canary");
  });
});
