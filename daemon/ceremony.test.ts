import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { UnsecuredJWT } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine, refuse } from "./testing/fake-machine.ts";
import { ACCOUNT } from "./testing/fake-services.ts";

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
  await machine.init();
  machine.services.calls.length = 0;
});
afterEach(() => machine.remove());

const at = timestampFromMs(Date.UTC(2030, 0, 1, 12, 30));
const work = {
  omniAccount: "1e".repeat(32),
  type: IdentityType.EMAIL,
  value: "work@example.com",
  linkedAt: at,
  lastUsedAt: at,
};
const ada = { omniAccount: ACCOUNT, type: IdentityType.EMAIL, value: "ada@example.com", linkedAt: at, lastUsedAt: at };
describe("a fresh sign-in", () => {
  const tooOld = refuse(ErrorReason.FRESH_SIGN_IN_REQUIRED);

  test("that cannot be started ends the command, instead of asking for mails again and again", async () => {
    machine.services.handlers = {
      linkIdentity: tooOld,
      startEmailLogin: ({ email }) => {
        if (email === "ada@example.com")
          throw new Failure(ErrorReason.RATE_LIMITED, "too many", { retryAfterMs: 9000 });
        return { loginId: "l".repeat(22), loginSecret: "s".repeat(43), userCode: "BCDF-GHJK", expiresAt: at };
      },
    };
    const { code, stderr } = await machine.agentkeys("link", "--email", "work@example.com");
    expect(code).toBe(1);
    expect(stderr).toContain("Try again in 9 seconds.");
    expect(machine.methods()).toEqual(["StartEmailLogin", "LinkIdentity", "StartEmailLogin"]);
  });

  test("is waited for, and by a proof of this machine's device key", async () => {
    let asked = 0;
    machine.services.handlers = {
      listIdentities: () => ({ identities: [ada, work] }),
      unlinkIdentity: () => (asked < 3 ? tooOld() : {}),
      stepUp: () => {
        if (++asked < 3) throw new Failure(ErrorReason.LOGIN_PENDING, "not yet", { retryAfterMs: 1 });
        return { freshUntil: at };
      },
    };
    const { code, stdout } = await machine.agentkeys("unlink", "work@example.com", "--yes", "--json");
    expect(code).toBe(0);
    expect(
      stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as object),
    ).toMatchObject([
      { event: "fresh_sign_in_needed" },
      { event: "mailed", email: "ada@example.com", user_code: "BCDF-GHJK" },
      { unlinked: { value: "work@example.com" } },
    ]);
    expect(machine.services.calls.slice(2)).toMatchObject([
      { method: "StartEmailLogin", session: "none", proof: "plain" },
      ...Array.from({ length: 3 }, () => ({ method: "StepUp", session: "identity", proof: "about the session" })),
      { method: "UnlinkIdentity" },
    ]);
  });

  test("is done at a provider where one is named", async () => {
    let fresh = false;
    machine.services.handlers = {
      whoAmI: () => ({ omniAccount: ACCOUNT, frozenAt: at }),
      unfreezeAccount: () => (fresh ? {} : tooOld()),
      stepUp: () => ((fresh = true), { freshUntil: at }),
    };
    const { code, stdout } = await machine.agentkeys("unfreeze", "--step-up-oauth", "corp");
    expect(code).toBe(0);
    expect(stdout).toContain("sign in with corp");
    expect(machine.methods()).toEqual(["WhoAmI", "UnfreezeAccount", "StartOauthLogin", "StepUp", "UnfreezeAccount"]);
  });

  test("needs the provider's name on a machine that was enrolled at one", async () => {
    await machine.agentkeys("logout");
    const corp = { omniAccount: ACCOUNT, type: IdentityType.OAUTH2, value: "https://corp.example|ada" };
    machine.services.handlers = {
      awaitLogin: () => ({
        sessionJwt: new UnsecuredJWT({ iss: machine.services.url, kind: "identity" }).encode() + "signature",
        ...{ omniAccount: ACCOUNT, identity: corp, expiresAt: timestampFromMs(machine.now + 3_600_000) },
      }),
      listIdentities: () => ({ identities: [corp, work] }),
      unlinkIdentity: tooOld,
    };
    await machine.agentkeys("init", "--oauth", "corp");
    const { code, stderr } = await machine.agentkeys("unlink", "work@example.com", "--yes");
    expect(code).toBe(2);
    expect(stderr).toContain("--step-up-oauth");
    expect(machine.methods()).not.toContain("StepUp");
  });

  test("by somebody else is none", async () => {
    machine.services.handlers = { linkIdentity: tooOld, stepUp: refuse(ErrorReason.WRONG_ACCOUNT) };
    const { code, stderr } = await machine.agentkeys("link", "--email", "work@example.com");
    expect(code).toBe(1);
    expect(stderr).toContain("nobody of this account");
  });
});
