import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine, refuse } from "../testing/fake-machine.ts";
import { ACCOUNT, siweMessage, WALLET } from "../testing/fake-services.ts";

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
});
afterEach(() => machine.remove());

describe("agentkeys init", () => {
  test("goes the whole way in the mission's order, proving the device key at every step", async () => {
    expect(await machine.init()).toMatchObject({ code: 0, stderr: "" });
    expect(machine.services.calls.map(({ method, session, proof }) => [method, session, proof])).toEqual([
      ["StartEmailLogin", "none", "plain"],
      ["AwaitLogin", "none", "plain"],
      ["DeriveAddress", "identity", "about the session"],
      ["LinkWallet", "identity", "about the session"],
      ["StartWalletAuth", "identity", "about the session"],
      ["SignMessage", "identity", "about the session"],
      ["VerifyWallet", "none", "plain"],
    ]);
    const [login, , derive, link, start, sign, verify] = machine.services.calls.map(({ request }) => request);
    expect(login).toMatchObject({ email: "ada@example.com", deviceName: "ada's machine" });
    expect(derive).toMatchObject({ omniAccount: ACCOUNT });
    expect(link).toMatchObject({ address: WALLET });
    expect(start).toMatchObject({ address: WALLET });
    expect(sign).toMatchObject({
      omniAccount: ACCOUNT,
      messageHex: Buffer.from(siweMessage(new URL(machine.services.url).host, WALLET)).toString("hex"),
      challengeToken: "the-challenge-token",
    });
    expect(verify).toMatchObject({ signature: "0x" + "11".repeat(65) });
  });

  test("tells a person what to do, in plain lines where there is no terminal", async () => {
    const { stdout } = await machine.init();
    expect(stdout.split("\n")).toEqual([
      "A mail is on its way to ada@example.com.",
      `(A broker for development sends no mails, but shows them at ${machine.services.url}/dev/mailbox.)`,
      "Open the link in it. If the page shows this very code, press its button: BCDF-GHJK",
      "Waiting, for 15 min at the most.",
      "Signed in as ada@example.com.",
      `The key service holds this account's wallet: ${WALLET}.`,
      "The wallet has signed the broker's challenge and is linked.",
      "Next: set AGENTKEYS_AWS_ROLE_ARN to the IAM role for this wallet, then try `agentkeys creds`.",
      "",
    ]);
  });

  test("says itself what is no e-mail address, and asks nobody", async () => {
    const { code, stderr } = await machine.agentkeys("init", "--email", "ada.example.com");
    expect(code).toBe(2);
    expect(stderr).toBe("agentkeys: That is no e-mail address.\nGive one like you@example.com.\n");
    expect(machine.services.calls).toEqual([]);
  });

  test("tells programs the same, one JSON object per line", async () => {
    const { stdout } = await machine.init("--json");
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.map(({ event }) => event)).toEqual([
      "mailed",
      "signed_in",
      "wallet_derived",
      "wallet_linked",
      "done",
    ]);
    expect(events[0]).toEqual({
      event: "mailed",
      email: "ada@example.com",
      user_code: "BCDF-GHJK",
      expires_at: "2030-01-01T00:15:00.000Z",
    });
    expect(events[4]).toEqual({
      event: "done",
      omni_account: ACCOUNT,
      identity: { type: "email", value: "ada@example.com" },
      session_expires_at: "2030-01-01T12:00:00.000Z",
      wallet_address: WALLET,
    });
  });

  test("calls the machine what the person calls it", async () => {
    await machine.init("--device-name", "build\u0007 server");
    expect(machine.services.calls[0]?.request["deviceName"]).toBe("build  server");
  });

  test("waits through pending answers and a broker that is away for a moment", async () => {
    const naps: number[] = [];
    const answers = [
      refuse(ErrorReason.LOGIN_PENDING, "not yet", 1500),
      refuse(ErrorReason.STORE_UNAVAILABLE),
      refuse(ErrorReason.SHUTTING_DOWN),
      refuse(ErrorReason.LOGIN_PENDING, "not yet", 1000),
    ];
    machine.services.handlers = {
      awaitLogin: () => {
        const answer = answers.shift();
        if (answer !== undefined) return answer();
        machine.services.handlers = {};
        throw new Failure(ErrorReason.LOGIN_PENDING, "not yet", { retryAfterMs: 0 });
      },
    };
    machine.sleep = (ms) => Promise.resolve(void naps.push(ms));
    const { code, stdout } = await machine.init();
    expect(code).toBe(0);
    expect(naps[0]).toBe(1500);
    expect(naps[1]).toBeGreaterThanOrEqual(500);
    expect(naps[2]).toBeGreaterThanOrEqual(1000);
    expect(naps[3]).toBe(1000);
    expect(stdout).toContain("Still trying.");
    expect(stdout).toContain("The broker answers again.");
    expect(machine.methods().filter((method) => method === "StartEmailLogin")).toHaveLength(1);
  });

  test("gives up on a broker that stays away", async () => {
    machine.services.handlers = { awaitLogin: refuse(ErrorReason.STORE_UNAVAILABLE, "the disk is gone") };
    machine.sleep = (ms) => Promise.resolve(void (machine.now += ms));
    const { code, stderr } = await machine.init();
    expect(code).toBe(1);
    expect(stderr).toContain("the disk is gone");
  });

  test.each([
    [ErrorReason.LOGIN_REFUSED, "The sign-in was refused by the person who was asked."],
    [ErrorReason.LOGIN_EXPIRED, "The sign-in was not confirmed in time."],
    [ErrorReason.LOGIN_NOT_FOUND, "The broker no longer knows this sign-in"],
  ])("that is not confirmed (%i) keeps nothing", async (reason, message) => {
    machine.services.handlers = { awaitLogin: refuse(reason) };
    const { code, stderr } = await machine.init();
    expect(code).toBe(1);
    expect(stderr).toContain(message);
    expect(stderr).toContain("Run `agentkeys init` again.");
    expect(readdirSync(machine.folder)).toEqual([]);
  });

  test.each([
    [ErrorReason.INVALID_EMAIL, "refused: email is not one"],
    [ErrorReason.RATE_LIMITED, "could not do it: too many mails"],
    [ErrorReason.MAIL_NOT_SENT, "could not do it: the mail server is away"],
  ])("that is refused at once (%i) says why", async (reason, message) => {
    machine.services.handlers = { startEmailLogin: refuse(reason, message.replace(/^.*: /, "")) };
    const { code, stderr } = await machine.init();
    expect(code).toBe(1);
    expect(stderr).toContain(`The broker at ${machine.services.url} ${message}`);
  });

  test("mails nobody when the folder cannot be used", async () => {
    writeFileSync(join(machine.base, "file"), "");
    machine.env["AGENTKEYS_STATE_DIR"] = join(machine.base, "file", "state");
    expect((await machine.init()).code).toBe(78);
    expect(machine.methods()).toEqual([]);
  });

  test("goes on where it stopped, without another mail", async () => {
    machine.services.handlers = { deriveAddress: refuse(ErrorReason.SIGNER_DISABLED, "no master secret") };
    const first = await machine.init();
    expect(first.code).toBe(1);
    expect(first.stderr).toContain(`The key service at ${machine.services.url} could not do it: no master secret`);
    expect(machine.stateFile()).not.toHaveProperty("wallet_address");
    expect((await machine.agentkeys("token")).stderr).toContain("its wallet was not linked");

    machine.services.handlers = {};
    machine.services.calls.length = 0;
    const second = await machine.init();
    expect(second).toMatchObject({ code: 0 });
    expect(second.stdout).toContain("Already signed in as ada@example.com; going on with the wallet.");
    expect(machine.methods()).not.toContain("StartEmailLogin");
    expect(machine.stateFile()).toHaveProperty("wallet_address", WALLET);
  });

  test("starts anew when what it stopped with is over, or somebody else signs in", async () => {
    machine.services.handlers = { deriveAddress: refuse(ErrorReason.SIGNER_DISABLED) };
    await machine.init();
    machine.services.handlers = { whoAmI: refuse(ErrorReason.SESSION_REVOKED) };
    machine.services.calls.length = 0;
    expect((await machine.init()).code).toBe(0);
    expect(machine.methods()).toContain("StartEmailLogin");
  });

  test("signs in again on a machine that is enrolled, and ends the session before", async () => {
    await machine.init();
    const before = machine.stateFile();
    machine.services.calls.length = 0;
    expect((await machine.init()).code).toBe(0);
    expect(machine.methods()).toContain("RevokeSession");
    expect(machine.stateFile()["wallet_address"]).toBe(before["wallet_address"]);
    expect(machine.stateFile()["device_key"]).not.toEqual(before["device_key"]);
  });

  test("refuses another account on a machine that is enrolled, and leaves everything as it was", async () => {
    await machine.init();
    const before = machine.stateFile();
    const usual = machine.services.handlers;
    machine.services.handlers = {
      ...usual,
      awaitLogin: () => ({
        sessionJwt: (before["session"] as { token: string }).token,
        omniAccount: "aa".repeat(32),
        identity: { type: IdentityType.EMAIL, value: "eve@example.com" },
        expiresAt: { seconds: BigInt(Math.floor(machine.now / 1000) + 3600), nanos: 0 },
      }),
    };
    machine.services.calls.length = 0;
    const { code, stderr } = await machine.init();
    expect(code).toBe(1);
    expect(stderr).toContain("This machine is enrolled as ada@example.com, and eve@example.com is another account.");
    expect(stderr).toContain("agentkeys logout");
    expect(machine.methods()).toEqual(["StartEmailLogin", "AwaitLogin", "RevokeSession"]);
    expect(machine.stateFile()).toEqual(before);
  });
});
