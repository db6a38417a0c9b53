import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine, refuse } from "../testing/fake-machine.ts";
import { ACCOUNT, WALLET } from "../testing/fake-services.ts";

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
const json = ({ stdout }: { stdout: string }): unknown => JSON.parse(stdout.trim().split("\n").at(-1) ?? "");

describe("agentkeys link", () => {
  test("waits for the person, then says who can sign in now", async () => {
    let asked = 0;
    machine.services.handlers = {
      linkIdentity: () => {
        if (++asked < 3) throw new Failure(ErrorReason.LOGIN_PENDING, "not yet", { retryAfterMs: 1 });
        return { identity: work };
      },
    };
    const { code, stdout } = await machine.agentkeys("link", "--email", "work@example.com");
    expect(code).toBe(0);
    expect(stdout).toContain("BCDF-GHJK");
    expect(stdout).toContain("work@example.com signs in to this account now.");
    const [start, link] = machine.services.calls;
    expect(start).toMatchObject({ method: "StartEmailLogin", session: "none", proof: "plain" });
    expect(link).toMatchObject({ method: "LinkIdentity", session: "identity", proof: "about the session" });
  });

  test("shows the page of a provider, and only if it is one", async () => {
    const { stdout } = await machine.agentkeys("link", "--oauth", "corp");
    expect(stdout).toContain(`${machine.services.url}/login#`);
    machine.services.handlers = {
      startOauthLogin: () => ({ authorizationUrl: "javascript:alert(1)", userCode: "BCDF-GHJK", expiresAt: at }),
    };
    const refused = await machine.agentkeys("link", "--oauth", "corp");
    expect(refused.stdout).not.toContain("javascript");
    expect(refused.stderr).toContain("the page to open is none");
  });

  test("needs to know what to link", async () => {
    expect((await machine.agentkeys("link")).code).toBe(2);
    expect((await machine.agentkeys("link", "--email", "a@b.example", "--oauth", "corp")).code).toBe(2);
  });

  test("proves the person anew where that is needed, and goes on by itself", async () => {
    let fresh = false;
    machine.services.handlers = {
      linkIdentity: () => {
        if (!fresh) throw new Failure(ErrorReason.FRESH_SIGN_IN_REQUIRED, "too old");
        return { identity: work };
      },
      stepUp: () => {
        fresh = true;
        return { freshUntil: at };
      },
    };
    const { code, stdout } = await machine.agentkeys("link", "--email", "work@example.com");
    expect(code).toBe(0);
    expect(stdout).toContain("This needs a fresh sign-in");
    const mailed = machine.services.calls.filter(({ method }) => method === "StartEmailLogin");
    expect(mailed.map(({ request }) => request["email"])).toEqual(["work@example.com", "ada@example.com"]);
  });

  const offer = {
    offerId: "0".repeat(64),
    keptAccount: ACCOUNT,
    keptWallets: [{ address: WALLET, checksumAddress: "0xKept", verified: true }],
    endedAccount: "1e".repeat(32),
    endedWallets: [{ address: WALLET, checksumAddress: "0xEnded", verified: true }],
    endedIdentities: [work],
  };

  test("offers a merge, and without anybody to agree changes nothing", async () => {
    machine.services.handlers = { linkIdentity: () => ({ mergeOffer: offer }) };
    const { code, stdout, stderr } = await machine.agentkeys("link", "--email", "work@example.com");
    expect(code).toBe(2);
    for (const text of ["0xKept", "0xEnded", "work@example.com", "Nothing has been changed yet"])
      expect(stdout).toContain(text);
    expect(stderr).toContain("Nothing was changed");
    expect(stderr).toContain("--merge");
    expect(machine.methods()).not.toContain("MergeAccount");
  });

  test("merges the accounts that were shown when told to", async () => {
    machine.services.handlers = {
      linkIdentity: () => ({ mergeOffer: offer }),
      mergeAccount: () => ({ identities: [ada, work] }),
    };
    const { stdout } = await machine.agentkeys("link", "--email", "work@example.com", "--merge");
    expect(stdout).toContain("The accounts are one now, with 2 identities.");
    expect(machine.services.calls.at(-1)).toMatchObject({
      method: "MergeAccount",
      request: { offerId: offer.offerId },
    });
  });

  test("merges when the person at the terminal says yes, and not when they say no or break off", async () => {
    machine.services.handlers = { linkIdentity: () => ({ mergeOffer: offer }) };
    for (const [keys, code] of [
      ["n", 1],
      ["\r", 1],
      ["\u0003", 130],
    ] as const) {
      machine.keys = keys;
      const refused = await machine.agentkeys("link", "--email", "work@example.com");
      expect(refused).toMatchObject({ code, stderr: "agentkeys: Nothing was changed.\n" });
    }
    expect(machine.methods()).not.toContain("MergeAccount");
    machine.keys = "y";
    expect((await machine.agentkeys("link", "--email", "work@example.com")).code).toBe(0);
    expect(machine.methods().at(-1)).toBe("MergeAccount");
  });

  test("shows programs the offer too, before it is refused and before it is taken up", async () => {
    const hostile = { ...work, value: "evil\u009b2J\u202e@example.com" };
    const shown = { ...offer, endedAccount: "1e\u009b2J", endedIdentities: [hostile] };
    machine.services.handlers = { linkIdentity: () => ({ mergeOffer: shown }) };
    const refused = await machine.agentkeys("link", "--email", "work@example.com", "--json");
    expect(json(refused)).toMatchObject({
      event: "merge_offer",
      offer_id: offer.offerId,
      kept_account: ACCOUNT,
      kept_wallets: ["0xKept"],
      ended_wallets: ["0xEnded"],
      ended_identities: [{ omni_account: work.omniAccount, type: "email" }],
    });
    expect(JSON.parse(refused.stderr)).toMatchObject({ error: { reason: "USAGE" } });
    const merged = await machine.agentkeys("link", "--email", "work@example.com", "--json", "--merge");
    expect(
      merged.stdout
        .trim()
        .split("\n")
        .map((line) => Object.keys(JSON.parse(line) as object)[0]),
    ).toEqual(["event", "event", "merged"]);
    const forPeople = await machine.agentkeys("link", "--email", "work@example.com");
    for (const text of [refused.stdout, merged.stdout, forPeople.stdout]) expect(text).not.toMatch(/[\u009b\u202e]/);
  });

  test.each([
    [ErrorReason.ACCOUNT_FROZEN, "The account that would end is frozen."],
    [ErrorReason.MERGE_OFFER_CHANGED, "One of the two accounts has changed"],
  ])(
    "a merge that is refused (%i) is told of the account that it is about, and asks for no sign-in here",
    async (reason, words) => {
      machine.services.handlers = { linkIdentity: () => ({ mergeOffer: offer }), mergeAccount: refuse(reason) };
      const { code, stderr } = await machine.agentkeys("link", "--email", "work@example.com", "--merge");
      expect(code).toBe(1);
      expect(stderr).toContain(words);
      expect(stderr).toContain("Nothing was merged");
    },
  );

  test.each([
    [ErrorReason.LOGIN_EXPIRED, "The sign-in was not confirmed in time.\nNothing was changed. Run the command again."],
    [ErrorReason.LOGIN_REFUSED, "Run the command again."],
    [ErrorReason.IDENTITY_SUSPENDED, "`agentkeys unlink` first"],
    [ErrorReason.SECOND_IDENTITY_REQUIRED, "Link another identity of its account"],
  ])("what is refused (%i) leaves this machine signed in, and the remedy does not say init", async (reason, words) => {
    machine.services.handlers = { linkIdentity: refuse(reason) };
    const { code, stderr } = await machine.agentkeys("link", "--email", "work@example.com");
    expect(code).toBe(1);
    expect(stderr).toContain(words);
    expect(stderr).not.toContain("agentkeys init");
  });
});
