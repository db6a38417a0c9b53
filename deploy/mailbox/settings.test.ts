import { expect, test } from "vitest";

import { readMailboxSettings } from "./settings.ts";

test("without settings the mailbox listens on loopback", () => {
  expect(readMailboxSettings({})).toEqual({
    smtpListen: { host: "127.0.0.1", port: 1025 },
    listen: { host: "127.0.0.1", port: 8093 },
    logLevel: "info",
  });
});

test("a setting that does not parse, or that nobody knows, is refused by name", () => {
  expect(() => readMailboxSettings({ AGENTKEYS_MAILBOX_LISTEN: "8093" })).toThrow(/^AGENTKEYS_MAILBOX_LISTEN must be/);
  expect(() => readMailboxSettings({ AGENTKEYS_MAILBOX_PORT: "1" })).toThrow(
    /^AGENTKEYS_MAILBOX_PORT is not a setting/,
  );
});

test("the mailbox does not run in production", () => {
  expect(() => readMailboxSettings({ NODE_ENV: "production" })).toThrow(/for development/);
});
