import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { ErrorReason } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine, refuse } from "./testing/fake-machine.ts";
import { type FakeServices, siweMessage, WALLET } from "./testing/fake-services.ts";

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
});
afterEach(() => machine.remove());

describe("a service that is not what it should be", () => {
  test.each<[string, FakeServices["handlers"], string]>([
    ["gives no address", { deriveAddress: () => ({ address: "0x" }) }, "what it gives as the wallet's address is none"],
    ["gives no code", { startEmailLogin: () => ({ userCode: "\u001b[2J" }) }, "the code to compare is none"],
    ["gives no time", { startEmailLogin: () => ({ userCode: "BCDF-GHJK" }) }, "a time is missing"],
    ["gives nothing", { awaitLogin: () => ({}) }, "it does not say who signed in"],
  ])("%s", async (_, handlers, words) => {
    machine.services.handlers = handlers;
    const { code, stderr } = await machine.init();
    expect(code).toBe(1);
    expect(stderr).toContain(words);
    expect(machine.methods()).not.toContain("SignMessage");
  });

  test.each([
    ["for another site", (): string => siweMessage("bank.example", WALLET)],
    ["for another wallet", (): string => siweMessage(new URL(machine.services.url).host, "0x" + "cd".repeat(20))],
    ["that is no sign-in", (): string => "I owe you 1 ETH"],
    ["that only mentions the site", (): string => `I owe ${new URL(machine.services.url).host} wants you to sign in`],
  ])("a challenge %s is not signed", async (_, message) => {
    machine.services.handlers = { startWalletAuth: () => ({ requestId: "r".repeat(22), siweMessage: message() }) };
    const { code, stderr } = await machine.init("--json");
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { reason: "CHALLENGE_UNEXPECTED" } });
    expect(machine.methods()).not.toContain("SignMessage");
  });

  test("another wallet than the recorded one stops everything", async () => {
    await machine.init();
    const other = "0x" + "cd".repeat(20);
    machine.services.handlers = { signMessage: () => ({ signature: "0x" + "11".repeat(65), address: other }) };
    machine.services.calls.length = 0;
    const signing = await machine.agentkeys("token");
    machine.services.handlers = { deriveAddress: () => ({ address: other }) };
    const deriving = await machine.init();
    for (const { code, stderr } of [signing, deriving]) {
      expect(code).toBe(1);
      expect(stderr).toContain(`This account's wallet is ${WALLET}, but the key service now answers with ${other}.`);
      expect(stderr).toContain("AGENTKEYS_KEYS_URL");
      expect(stderr).toContain("agentkeys migrate-wallet");
    }
    expect(machine.methods()).not.toContain("VerifyWallet");
    expect(machine.methods()).not.toContain("LinkWallet");
    expect(machine.stateFile()["wallet_address"]).toBe(WALLET);
  });

  test("nobody listens: the one who is away is named", async () => {
    await machine.init();
    const [fine, away] = [machine.services.url, "http://127.0.0.1:1"];
    machine.env["AGENTKEYS_KEYS_URL"] = away;
    const keys = await machine.agentkeys("token");
    expect(keys.code).toBe(1);
    expect(keys.stderr).toContain(`The key service at ${away} cannot be reached: nothing listens there.`);
    expect(keys.stderr).toContain("AGENTKEYS_KEYS_URL is right");
    machine.env = {
      ...machine.env,
      AGENTKEYS_KEYS_URL: fine,
      AGENTKEYS_BROKER_URL: away,
      AGENTKEYS_STATE_DIR: join(machine.base, "other"),
    };
    expect((await machine.init()).stderr).toContain(`The broker at ${away} cannot be reached: nothing listens there.`);
  });

  test.each([
    ["a web site", 200, "<html>hello</html>", "text/html"],
    ["another JSON API", 404, '{"detail":"not found"}', "application/json"],
    ["an empty answer", 200, "", "application/proto"],
  ])("%s answers in the broker's place", async (_, status, body, type) => {
    const server = createServer((_request, response) => {
      response.writeHead(status, { "content-type": type });
      response.end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    machine.env["AGENTKEYS_BROKER_URL"] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { code, stderr } = await machine.init();
    server.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(/is not an AgentKeys broker|answer cannot be used/);
    expect(stderr).not.toMatch(/at .*\.ts:/);
  });

  test("a fault of ours shows its insides only when asked to", async () => {
    machine.services.handlers = { startEmailLogin: refuse(ErrorReason.STORE_UNAVAILABLE) };
    expect((await machine.init()).stderr).not.toContain("ConnectError");
    machine.env["AGENTKEYS_LOG_LEVEL"] = "debug";
    expect((await machine.init()).stderr).toContain("ConnectError");
  });
});
