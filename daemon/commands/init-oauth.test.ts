import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { UnsecuredJWT } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import { ErrorReason } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine, refuse } from "../testing/fake-machine.ts";
import { ACCOUNT } from "../testing/fake-services.ts";

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
});
afterEach(() => machine.remove());

describe("agentkeys init --oauth", () => {
  test("shows the page and the code, and goes on to the wallet by itself", async () => {
    const { code, stdout } = await machine.agentkeys("init", "--oauth", "corp");
    expect(code).toBe(0);
    const lines = stdout.split("\n");
    expect(lines.slice(0, 3)).toEqual([
      "Open this page, on this machine or another one, and sign in with corp:",
      `  ${machine.services.url}/login#${"t".repeat(43)}`,
      "If it shows this very code, press its button, before and after: BCDF-GHJK",
    ]);
    expect(machine.methods()[0]).toBe("StartOauthLogin");
    expect(machine.methods().at(-1)).toBe("VerifyWallet");
  });

  test("tells programs the same", async () => {
    const { stdout } = await machine.agentkeys("init", "--oauth", "corp", "--json");
    expect(JSON.parse(stdout.split("\n")[0] ?? "")).toMatchObject({
      event: "open_page",
      provider: "corp",
      user_code: "BCDF-GHJK",
    });
  });

  test("takes one way to sign in, not two", async () => {
    expect((await machine.init("--oauth", "corp")).code).toBe(2);
    expect(machine.methods()).toEqual([]);
  });

  test("says which providers there are when it is none of them", async () => {
    machine.services.handlers = { startOauthLogin: refuse(ErrorReason.PROVIDER_UNKNOWN, "it has corp, other") };
    expect((await machine.agentkeys("init", "--oauth", "x")).stderr).toContain("it has corp, other");
  });
});

test("signing in to a frozen account keeps the session, says what to do, and asks nobody for a signature", async () => {
  const token =
    new UnsecuredJWT({ iss: machine.services.url, kind: "identity", restricted: true }).encode() + "signature";
  machine.services.handlers = {
    awaitLogin: () => ({
      sessionJwt: token,
      omniAccount: ACCOUNT,
      identity: { omniAccount: ACCOUNT, type: IdentityType.EMAIL, value: "ada@example.com" },
      expiresAt: timestampFromMs(machine.now + 3_600_000),
    }),
    whoAmI: () => ({ omniAccount: ACCOUNT, frozenAt: timestampFromMs(machine.now) }),
  };
  const { code, stdout } = await machine.init();
  expect(code).toBe(0);
  expect(stdout).toContain("agentkeys unfreeze");
  expect(machine.methods()).toEqual(["StartEmailLogin", "AwaitLogin", "WhoAmI"]);
  expect((await machine.agentkeys("identities")).code).toBe(0);
});
