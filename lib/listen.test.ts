import { createServer } from "node:net";
import type { AddressInfo } from "node:net";

import { expect, test } from "vitest";

import { ListenError, listenAt } from "./listen.ts";
import { SettingsError } from "./settings/index.ts";

test("an address that is taken is a mistake in the settings, which names it and what to set", async () => {
  const first = createServer();
  await listenAt(first, { host: "127.0.0.1", port: 0 });
  const { port } = first.address() as AddressInfo;
  const error: unknown = await listenAt(createServer(), { host: "127.0.0.1", port }).catch((reason: unknown) => reason);
  await new Promise((resolve) => first.close(resolve));
  expect(error).toBeInstanceOf(SettingsError);
  expect(error).toMatchObject({
    code: "EADDRINUSE",
    message: `127.0.0.1:${port} cannot be listened at: another program does already. AGENTKEYS_…_LISTEN sets another address.`,
  });
});

test("so is one that this machine does not have", async () => {
  const listening = listenAt(createServer(), { host: "192.0.2.1", port: 0 });
  await expect(listening).rejects.toThrow(
    "192.0.2.1:0 cannot be listened at: it is no address of this machine. AGENTKEYS_…_LISTEN sets another address.",
  );
});

test("an IPv6 address stands in brackets, and what has no words of its own is told by the system's", () => {
  expect(new ListenError({ host: "::1", port: 80 }, "EACCES").message).toMatch(/^\[::1\]:80 .*this user may not/);
  expect(new ListenError({ host: "::1", port: 80 }, "EINVAL").message).toContain("the system says EINVAL");
});
