import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { readSettings, SettingError, SettingsError } from "./index.ts";
import { baseUrl, isLoopback, listenAddress, optional, required, text } from "./kinds.ts";

const settings = {
  AGENTKEYS_A: required("the first", text),
  AGENTKEYS_B: optional("the second", listenAddress, undefined),
};
const problems = (env: Record<string, string>): readonly string[] => {
  try {
    readSettings(env, settings, ["AGENTKEYS_OTHER"]);
  } catch (error) {
    return (error as SettingsError).problems;
  }
  return [];
};

describe("reading settings", () => {
  test("tells every mistake at once, a line each", () => {
    expect(problems({ AGENTKEYS_B: "x", AGENTKEYS_C: "1", PATH: "/bin" })).toEqual([
      "AGENTKEYS_C is not a setting of this program. Did you mean AGENTKEYS_A?",
      "AGENTKEYS_A must be set: the first",
      "AGENTKEYS_B must be host:port, for example 127.0.0.1:8091",
    ]);
  });

  test("knows the names of sibling programs, and takes an empty value for none", () => {
    expect(problems({ AGENTKEYS_A: "a", AGENTKEYS_OTHER: "x", AGENTKEYS_B: "" })).toEqual([]);
  });
});

describe("an address to listen on", () => {
  test("is host:port, also IPv6", () => {
    expect(listenAddress("[::1]:0")).toEqual({ host: "::1", port: 0 });
    expect(listenAddress("localhost:65535")).toEqual({ host: "localhost", port: 65535 });
  });
  test.each(["", "x", ":80", "::1:80", "h:65536", "h:-1", "h:8o", "h: 80"])("%j is refused", (value) => {
    expect(() => listenAddress(value)).toThrow(SettingError);
  });
});

describe("a base URL", () => {
  test.each(["ftp://x", "https://x/", "https://x?y", "https://x#y", "https://u:p@x", "x", "https://"])(
    "%j is refused",
    (value) => {
      expect(() => baseUrl(value)).toThrow(SettingError);
    },
  );
  test("may have a path", () => expect(baseUrl("https://x/y")).toBe("https://x/y"));
});

test("loopback is what only this machine reaches", () => {
  fc.assert(fc.property(fc.ipV4(), (ip) => isLoopback(ip) === ip.startsWith("127.")));
  expect(["localhost", "::1", "[::1]", "::ffff:127.0.0.1", "a.localhost"].every(isLoopback)).toBe(true);
  expect(["0.0.0.0", "::", "localhost.evil.example", "127.evil.example", ""].some(isLoopback)).toBe(false);
});
