import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import { LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine, refuse } from "../testing/fake-machine.ts";
import { ACCOUNT } from "../testing/fake-services.ts";

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
});
afterEach(() => machine.remove());

const at = timestampFromMs(Date.UTC(2030, 0, 1, 12, 30));
const passkey = {
  ...{ omniAccount: "2f".repeat(32), type: IdentityType.PASSKEY, value: "kX8f", linkedAt: at, lastUsedAt: at },
  displayName: "Passkey made on Linux, 2030-01-01",
};
const callsOf = (method: string) => machine.services.calls.filter((call) => call.method === method);
const events = (stdout: string) =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** Answers AwaitLogin as a broker does to which the passkey signed in. */
const byPasskey = (): void => {
  machine.services.handlers.awaitLogin = () => ({
    sessionJwt: `e30.${Buffer.from(JSON.stringify({ iss: machine.services.url, kind: "identity" })).toString("base64url")}.s`,
    omniAccount: ACCOUNT,
    identity: passkey,
    expiresAt: timestampFromMs(machine.now + 3_600_000),
  });
};

describe("agentkeys init --passkey", () => {
  test("shows the page and the code, and goes on to the wallet by itself", async () => {
    byPasskey();
    const { code, stdout } = await machine.agentkeys("init", "--passkey");
    expect(code).toBe(0);
    expect(stdout.split("\n").slice(0, 3)).toEqual([
      "Open this page in a browser that has your passkey, or is to make it:",
      `  ${machine.services.url}/login#${"t".repeat(43)}`,
      "If it shows this very code, press its button: BCDF-GHJK",
    ]);
    expect(stdout).toContain("Signed in as Passkey made on Linux, 2030-01-01.");
    expect(callsOf("StartPasskeyLogin")).toMatchObject([
      { session: "none", proof: "plain", request: { purpose: LoginPurpose.SIGN_IN } },
    ]);
    expect(machine.methods().at(-1)).toBe("VerifyWallet");
    expect((await machine.agentkeys("whoami")).stdout).toContain("Passkey made on Linux, 2030-01-01 (passkey)");
    expect(machine.stateFile()["identity"]).toEqual({ type: "passkey", value: "kX8f", name: passkey.displayName });
  });

  test("shows a person at a terminal the page and the code", async () => {
    machine.keys = "";
    const { code, stdout } = await machine.agentkeys("init", "--passkey");
    expect(code).toBe(0);
    expect(stdout).toContain(`${machine.services.url}/login#`);
    expect(stdout).toContain("B C D F - G H J K");
  });

  test("tells programs the same", async () => {
    const { stdout } = await machine.agentkeys("init", "--passkey", "--json");
    expect(events(stdout)[0]).toMatchObject({ event: "open_page", provider: "passkey", user_code: "BCDF-GHJK" });
  });

  test("takes one way to sign in, not two", async () => {
    for (const other of [
      ["--oauth", "corp"],
      ["--email", "ada@example.com"],
    ]) {
      expect((await machine.agentkeys("init", "--passkey", ...other)).code).toBe(2);
    }
    expect(machine.methods()).toEqual([]);
  });

  test("says what to do with a passkey that is linked to no account", async () => {
    machine.services.handlers = { awaitLogin: refuse(ErrorReason.PASSKEY_UNKNOWN, "linked to no account") };
    const { code, stderr } = await machine.agentkeys("init", "--passkey");
    expect(code).toBe(1);
    expect(stderr).toContain("agentkeys link --passkey");
  });
});

describe("agentkeys link --passkey", () => {
  beforeEach(() => machine.init());

  test("has the page make one, and says what it is called", async () => {
    machine.services.handlers = { linkIdentity: () => ({ identity: passkey }) };
    const { code, stdout } = await machine.agentkeys("link", "--passkey");
    expect(code).toBe(0);
    expect(stdout).toContain("Passkey made on Linux, 2030-01-01 signs in to this account now.");
    expect(callsOf("StartPasskeyLogin")).toMatchObject([{ request: { purpose: LoginPurpose.LINK } }]);
    expect((await machine.agentkeys("link", "--passkey", "--email", "a@b.example")).code).toBe(2);
  });

  test("tells programs the page and the code", async () => {
    const { stdout } = await machine.agentkeys("link", "--passkey", "--json");
    expect(events(stdout)[0]).toMatchObject({ event: "open_page", provider: "passkey", user_code: "BCDF-GHJK" });
  });
});

describe("a fresh sign-in with a passkey", () => {
  const needsFresh = (): void => {
    let fresh = false;
    machine.services.handlers.unlinkIdentity = () => {
      if (!fresh) throw new Failure(ErrorReason.FRESH_SIGN_IN_REQUIRED, "too old");
      return {};
    };
    machine.services.handlers.stepUp = () => {
      fresh = true;
      return { freshUntil: at };
    };
  };

  test("is asked for where the command line says so", async () => {
    await machine.init();
    needsFresh();
    const { code, stdout } = await machine.agentkeys("unlink", "ada@example.com", "--yes", "--step-up-passkey");
    expect(code).toBe(0);
    expect(stdout).toContain("This needs a fresh sign-in");
    expect(callsOf("StartPasskeyLogin")).toMatchObject([{ request: { purpose: LoginPurpose.STEP_UP } }]);
    expect(callsOf("UnlinkIdentity")).toHaveLength(2);
  });

  test("is what a machine asks for by itself that was enrolled with one", async () => {
    byPasskey();
    await machine.agentkeys("init", "--passkey");
    machine.services.calls.length = 0;
    needsFresh();
    expect((await machine.agentkeys("unlink", "ada@example.com", "--yes")).code).toBe(0);
    expect(callsOf("StartPasskeyLogin")).toHaveLength(1);
  });
});
