import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";

import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { UnsecuredJWT } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import { addressOfSecretKey, checksumAddress, signEip191 } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine, refuse } from "../testing/fake-machine.ts";
import { ACCOUNT, siweMessage } from "../testing/fake-services.ts";

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
});
afterEach(() => machine.remove());

const OWN = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
const GOOD = `0x${"11".repeat(65)}`;
const events = ({ stdout }: { stdout: string }) =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, string>);
/** What a program writes, line by line, once each is asked for. */
const typed = (...lines: string[]): Readable => Readable.from(lines.map((line) => line + "\n"));
const callsOf = (method: string) => machine.services.calls.filter((call) => call.method === method);

describe("agentkeys init --wallet", () => {
  test("shows the page and the code, and goes on to the account's wallet by itself", async () => {
    const { code, stdout } = await machine.agentkeys("init", "--wallet");
    expect(code).toBe(0);
    expect(stdout.split("\n").slice(0, 3)).toEqual([
      "Open this page in a browser that has your wallet:",
      `  ${machine.services.url}/login#${"t".repeat(43)}`,
      "Sign there if the page and the wallet show this very code: BCDF-GHJK",
    ]);
    expect(machine.methods()[0]).toBe("StartWalletLogin");
    expect(machine.methods().at(-1)).toBe("VerifyWallet");
  });

  test("tells programs the same", async () => {
    const [first] = events(await machine.agentkeys("init", "--wallet", "--json"));
    expect(first).toMatchObject({ event: "open_page", provider: "wallet", user_code: "BCDF-GHJK" });
  });

  test("shows a person at a terminal the page and the code", async () => {
    machine.keys = "";
    const { code, stdout } = await machine.agentkeys("init", "--wallet");
    expect(code).toBe(0);
    expect(stdout).toContain(`${machine.services.url}/login#`);
    expect(stdout).toContain("B C D F - G H J K");
  });

  test.each([
    [["--wallet", "--email", "ada@example.com"], "--email, --oauth, --wallet and --passkey"],
    [["--wallet", "--paste"], "which wallet"],
    [["--email", "ada@example.com", "--paste"], "--paste goes with --wallet"],
    [["--wallet", "0x1234"], "address must be 0x and 40 hex characters"],
    [["--wallet", OWN.replace("5aA", "5Aa")], "wrong EIP-55 checksum"],
  ])("%j is no command line", async (argv, words) => {
    const { code, stderr } = await machine.agentkeys("init", ...argv);
    expect(code).toBe(2);
    expect(stderr).toContain(words);
    expect(machine.methods()).toEqual([]);
  });
});

describe("agentkeys init --wallet ADDRESS --paste", () => {
  const init = (...argv: string[]) => machine.agentkeys("init", "--wallet", OWN.toLowerCase(), "--paste", ...argv);

  test("prints the very text to sign, reads the signature, and signs in", async () => {
    machine.input = typed(`  ${GOOD}  `);
    const { code, stdout } = await init();
    expect(code).toBe(0);
    const text = `${siweMessage(new URL(machine.services.url).host, OWN)} The code is BCDF-GHJK.`;
    expect(stdout).toContain(`\n${text}\n`);
    expect(stdout).toContain("cast wallet sign");
    const [start] = callsOf("StartWalletAuth");
    expect(start).toMatchObject({ session: "none", proof: "plain" });
    expect(start?.request).toMatchObject({ address: OWN.toLowerCase(), loginId: "l".repeat(22) });
    expect(callsOf("VerifyWallet")[0]?.request).toMatchObject({ requestId: "r".repeat(22), signature: GOOD });
    expect(machine.methods().slice(0, 4)).toEqual([
      "StartWalletLogin",
      "StartWalletAuth",
      "VerifyWallet",
      "AwaitLogin",
    ]);
  });

  test("gives programs the text, and reads a line from them", async () => {
    machine.input = typed(GOOD);
    const { stdout, code } = await init("--json");
    expect(code).toBe(0);
    const [first, second] = events({ stdout });
    expect(first).toMatchObject({ event: "sign_message", address: OWN, user_code: "BCDF-GHJK" });
    expect(first?.["message"]).toContain(OWN);
    expect(second).toMatchObject({ event: "signed_in" });
  });

  test("asks a person at a terminal", async () => {
    machine.keys = `${GOOD}\r`;
    const { code, stdout } = await init();
    expect(code).toBe(0);
    expect(stdout).toContain("The signature");
  });

  test("says what is wrong with a signature, and takes the next one", async () => {
    const otherKey = randomBytes(32);
    const other = checksumAddress(addressOfSecretKey(otherKey));
    const message = `${siweMessage(new URL(machine.services.url).host, OWN)} The code is BCDF-GHJK.`;
    const theirs = signEip191(otherKey, Buffer.from(message));
    machine.services.handlers = {
      verifyWallet: ({ signature }) => {
        if (signature !== GOOD) throw new Failure(ErrorReason.SIGNATURE_INVALID, "signature was not made by it");
        return {};
      },
    };
    machine.input = typed("hello", theirs, `0x${"22".repeat(70)}`, GOOD);
    const { stdout } = await init("--json");
    const problems = events({ stdout }).flatMap(({ event, problem }) => (event === "sign_message" ? [problem] : []));
    expect(problems).toEqual([
      undefined,
      expect.stringContaining("That is no signature"),
      expect.stringContaining(`either ${other} has`),
      expect.stringContaining("signature was not made by it"),
    ]);
    expect(callsOf("VerifyWallet").map(({ request }) => request["signature"])).toContain(GOOD);
  });

  test("ends with what was wrong when no other one comes", async () => {
    machine.input = typed("hello");
    expect(await init()).toMatchObject({ code: 1, stderr: expect.stringContaining("That is no signature") as string });
    machine.input = typed();
    const { code, stderr } = await init();
    expect(code).toBe(1);
    expect(stderr).toContain("No signature came");
    expect(machine.methods()).not.toContain("AwaitLogin");
  });

  test.each([
    ["another site", (address: string) => `${siweMessage("bank.example", address)} BCDF-GHJK`],
    ["another address", () => `${siweMessage("HOST", `0x${"00".repeat(20)}`)} BCDF-GHJK`],
    ["another code", (address: string) => siweMessage("HOST", address)],
    ["what moves the cursor", (address: string) => `${siweMessage("HOST", address)} BCDF-GHJK\u001b[2J`],
  ])("shows no text for %s", async (_, text) => {
    machine.services.handlers = {
      startWalletAuth: ({ address }) => ({
        requestId: "r".repeat(22),
        siweMessage: text(address).replace("HOST", new URL(machine.services.url).host),
        expiresAt: timestampFromMs(machine.now + 300_000),
      }),
    };
    machine.input = typed(GOOD);
    const { code, stdout, stderr } = await init();
    expect(code).toBe(1);
    expect(stderr).toContain("Nothing was shown to sign");
    expect(stdout).not.toContain("wants you to sign in");
    expect(machine.methods()).not.toContain("VerifyWallet");
  });

  test.each([
    [ErrorReason.WALLET_NOT_OWN, "startWalletAuth", "Use an address whose key you hold yourself."],
    [ErrorReason.CHALLENGE_EXPIRED, "verifyWallet", "good for 5 minutes"],
    [ErrorReason.CHAIN_UNAVAILABLE, "verifyWallet", "Try again"],
  ] as const)("says what to do when it is refused (%i)", async (reason, rpc, words) => {
    machine.services.handlers = { [rpc]: refuse(reason) };
    machine.input = typed(GOOD, GOOD);
    const { code, stderr } = await init();
    expect(code).toBe(1);
    expect(stderr).toContain(words);
  });
});

describe("a fresh sign-in with a wallet", () => {
  const at = timestampFromMs(Date.UTC(2030, 0, 1, 12, 30));
  const evm = { omniAccount: ACCOUNT, type: IdentityType.EVM, value: OWN.toLowerCase(), linkedAt: at, lastUsedAt: at };
  const signedIn = () => ({
    sessionJwt: new UnsecuredJWT({ iss: machine.services.url, kind: "identity" }).encode() + "signature",
    ...{ omniAccount: ACCOUNT, identity: evm, expiresAt: timestampFromMs(machine.now + 3_600_000) },
  });
  let fresh: boolean;
  beforeEach(() => {
    fresh = false;
    machine.services.handlers = {
      awaitLogin: signedIn,
      linkIdentity: () => (fresh ? { identity: evm } : refuse(ErrorReason.FRESH_SIGN_IN_REQUIRED)()),
      stepUp: () => ((fresh = true), { freshUntil: at }),
    };
  });

  test("is what a machine asks for that was enrolled with one", async () => {
    await machine.agentkeys("init", "--wallet");
    machine.services.calls.length = 0;
    const { code, stdout } = await machine.agentkeys("link", "--email", "work@example.com");
    expect(code).toBe(0);
    expect(stdout).toContain("in a browser that has your wallet");
    expect(machine.methods()).toEqual([
      "StartEmailLogin",
      "LinkIdentity",
      "StartWalletLogin",
      "StepUp",
      "LinkIdentity",
    ]);
  });

  test("is asked for where it is named, and typed in where that is", async () => {
    await machine.init();
    machine.services.calls.length = 0;
    machine.input = typed(GOOD);
    // --paste is about wallets, and there is one: the one that steps up.
    const argv = ["link", "--oauth", "corp", "--step-up-wallet", OWN, "--paste", "--json"];
    const { code, stdout } = await machine.agentkeys(...argv);
    expect(code).toBe(0);
    expect(events({ stdout }).map(({ event, provider }) => [event, provider])).toEqual([
      ["open_page", "corp"],
      ["fresh_sign_in_needed", undefined],
      ["sign_message", undefined],
      [undefined, undefined],
    ]);
  });
});

test("agentkeys link --wallet links a wallet by its page, or by its signature", async () => {
  await machine.init();
  machine.services.calls.length = 0;
  const byPage = await machine.agentkeys("link", "--wallet");
  expect(byPage.stdout).toContain("in a browser that has your wallet");
  machine.input = typed(GOOD);
  const byHand = await machine.agentkeys("link", "--wallet", OWN, "--paste");
  expect(byHand.code).toBe(0);
  expect(machine.methods()).toEqual([
    ...["StartWalletLogin", "LinkIdentity"],
    ...["StartWalletLogin", "StartWalletAuth", "VerifyWallet", "LinkIdentity"],
  ]);
  const purposes = callsOf("StartWalletLogin").map(({ request }) => request["purpose"]);
  expect(new Set(purposes).size).toBe(1);
});
