import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { SettingsError } from "@agentkeys/lib/settings";

import { readKeyServiceSettings } from "./settings.ts";

const secret = "ab".repeat(32);
const problems = (env: Record<string, string>): string => {
  try {
    readKeyServiceSettings(env);
  } catch (error) {
    if (error instanceof SettingsError) return error.message;
    throw error;
  }
  return "";
};

describe("the key service's settings", () => {
  test("need nothing: it then runs without a secret", () => {
    expect(readKeyServiceSettings({})).toEqual({ listen: { host: "127.0.0.1", port: 8092 }, logLevel: "info" });
  });

  test("keep the master secret as bytes of their own", () => {
    const { masterSecret } = readKeyServiceSettings({ DEV_KEY_SERVICE_MASTER_SECRET: secret });
    expect(masterSecret).toEqual(Buffer.alloc(32, 0xab));
    expect(masterSecret?.buffer.byteLength).toBe(32);
  });

  test.each(["", " ", "canary", secret.slice(1), secret + "ab", "0x" + secret, secret.replace("a", "g")])(
    "a malformed master secret (%j) refuses, and is not repeated",
    (value) => {
      const message = problems({ DEV_KEY_SERVICE_MASTER_SECRET: value });
      if (value === "") {
        expect(message).toBe("");
        return;
      }
      expect(message).toMatch(/^DEV_KEY_SERVICE_MASTER_SECRET must be 32 bytes as 64 hex characters/);
      expect(message).not.toContain(value.trim() === "" ? "\0" : value);
    },
  );

  test("production is refused", () => {
    expect(problems({ NODE_ENV: "production" })).toMatch(/^NODE_ENV is production/);
  });

  test("another address than loopback needs a broker", () => {
    expect(problems({ AGENTKEYS_KEYS_LISTEN: "0.0.0.0:8092" })).toMatch(
      /^AGENTKEYS_KEYS_LISTEN is not a loopback address/,
    );
    expect(problems({ AGENTKEYS_KEYS_LISTEN: "[::]:8092" })).toMatch(/^AGENTKEYS_KEYS_LISTEN/);
    const broker = { AGENTKEYS_KEYS_BROKER_URL: "https://broker.example" };
    expect(problems({ AGENTKEYS_KEYS_LISTEN: "0.0.0.0:8092", ...broker })).toMatch(
      /^AGENTKEYS_KEYS_PUBLIC_URL must be set/,
    );
    const publicUrl = { AGENTKEYS_KEYS_PUBLIC_URL: "https://keys.example" };
    expect(problems({ AGENTKEYS_KEYS_LISTEN: "0.0.0.0:8092", ...broker, ...publicUrl })).toBe("");
    expect(problems(publicUrl)).toMatch(/^AGENTKEYS_KEYS_PUBLIC_URL is not a loopback address/);
  });

  test("unknown names are refused, names of our other programs are not", () => {
    expect(problems({ AGENTKEYS_KEYS_BORKER_URL: "x" })).toContain("Did you mean AGENTKEYS_KEYS_BROKER_URL?");
    expect(problems({ AGENTKEYS_BROKER_LISTEN: "whatever" })).toBe("");
  });
});

test("the process ends with 78 and one line, no stack, when a setting is wrong", () => {
  const main = fileURLToPath(new URL("main.ts", import.meta.url));
  const env = { PATH: process.env["PATH"], DEV_KEY_SERVICE_MASTER_SECRET: "canary" };
  const { status, stderr, stdout } = spawnSync(process.execPath, ["--import", "tsx", main], { env, encoding: "utf8" });
  expect(status).toBe(78);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr + stdout).not.toContain("canary");
});
