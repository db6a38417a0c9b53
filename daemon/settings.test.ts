import { describe, expect, test } from "vitest";

import { Problem, problemOf } from "./problem.ts";
import { readDaemonSettings, requireRole } from "./settings.ts";

function problemWith(env: Record<string, string>): Problem {
  try {
    readDaemonSettings(env);
  } catch (error) {
    return problemOf(error);
  }
  throw new Error("The settings were taken.");
}

describe("the settings", () => {
  test("need none", () => {
    expect(readDaemonSettings({ PATH: "/bin" })).toEqual({
      brokerUrl: "http://127.0.0.1:8091",
      keysUrl: "http://127.0.0.1:8092",
      aws: { sessionSeconds: 3600 },
      listen: { host: "127.0.0.1", port: 8094 },
      logLevel: "info",
    });
  });

  test.each([
    ["AGENTKEYS_BROKER_URL", "broker.example", "must be a URL"],
    ["AGENTKEYS_BROKER_URL", "https://broker.example/", "without a trailing slash"],
    ["AGENTKEYS_BROKER_URL", "http://broker.example", "must begin with https://, except on loopback"],
    ["AGENTKEYS_KEYS_URL", "http://10.0.0.7:8092", "must begin with https://, except on loopback"],
    ["AGENTKEYS_KEYS_URL", "https://user:password@keys.example", "must be a URL"],
    ["AGENTKEYS_AWS_ROLE_ARN", "agents", "must be the ARN of an IAM role"],
    ["AGENTKEYS_AWS_ROLE_ARN", "arn:aws:iam::123456789012:user/ada", "must be the ARN of an IAM role"],
    ["AGENTKEYS_AWS_SESSION_SECONDS", "899", "must be a whole number from 900 to 43200"],
    ["AGENTKEYS_AWS_SESSION_SECONDS", "1h", "must be a whole number from 900 to 43200"],
    ["AGENTKEYS_LISTEN", "0.0.0.0:8094", "must be a loopback address"],
    ["AGENTKEYS_LISTEN", "8094", "must be host:port"],
    ["AGENTKEYS_LOG_LEVEL", "loud", "must be one of debug, info, warn, error"],
    ["AGENTKEYS_BROKER_URLS", "x", "is not a setting of this program. Did you mean AGENTKEYS_BROKER_URL?"],
  ])("%s=%s is refused by name", (name, value, words) => {
    const problem = problemWith({ [name]: value });
    expect(problem).toMatchObject({ reason: "SETTINGS", exitCode: 78 });
    expect(problem.text).toMatch(new RegExp(`^${name} `));
    expect(problem.text).toContain(words);
  });

  test("are refused all at once, a line for each", () => {
    expect(problemWith({ AGENTKEYS_BROKER_URL: "x", AGENTKEYS_LISTEN: "y" }).text.split("\n")).toHaveLength(2);
  });

  test("may stand beside those of the services", () => {
    expect(readDaemonSettings({ AGENTKEYS_BROKER_LISTEN: "anything", AGENTKEYS_CLIENT_ID: "x" })).toBeDefined();
  });

  test("name the role, for what cannot do without", () => {
    expect(() => requireRole({ sessionSeconds: 900 })).toThrow("AGENTKEYS_AWS_ROLE_ARN is not set");
  });
});
