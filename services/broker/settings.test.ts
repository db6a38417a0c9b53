import { describe, expect, test } from "vitest";

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

  test.each([
    ["AGENTKEYS_BROKER_LISTEN", "8091"],
    ["AGENTKEYS_BROKER_LISTEN", "127.0.0.1:99999"],
    ["AGENTKEYS_BROKER_PUBLIC_URL", "https://broker.example/"],
    ["AGENTKEYS_BROKER_PUBLIC_URL", "http://broker.example"],
    ["AGENTKEYS_BROKER_PUBLIC_URL", "broker.example"],
    ["AGENTKEYS_BROKER_SMTP_URL", "https://mail.example"],
    ["AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY", "ab12"],
    ["AGENTKEYS_BROKER_SESSION_RENEWABLE_DAYS", "0"],
    ["AGENTKEYS_BROKER_SESSION_RENEWABLE_DAYS", "many"],
    ["AGENTKEYS_BROKER_TRUSTED_PROXIES", "everyone"],
    ["AGENTKEYS_BROKER_TLS_CERT", "/nowhere/cert.pem"],
    ["AGENTKEYS_BROKER_LOG_LEVEL", "loud"],
    ["AGENTKEYS_CLIENT_ID", "two words"],
  ])("%s=%s is refused in one line that names it", (name, value) => {
    const lines = problems({ [name]: value });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(new RegExp(`^${name} `));
  });

  test("a misspelt name is refused with the right one", () => {
    expect(problems({ AGENTKEYS_BROKER_LISTENS: "x" })[0]).toContain("Did you mean AGENTKEYS_BROKER_LISTEN?");
  });

  test("a secret that does not parse is not repeated", () => {
    expect(problems({ AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY: "canary-secret" }).join()).not.toContain("canary");
    expect(problems({ AGENTKEYS_BROKER_SMTP_URL: "canary:secret" }).join()).not.toContain("canary");
  });
});
