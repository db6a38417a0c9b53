import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import { MINUTE } from "@agentkeys/lib/clock";
import { addressOfSecretKey, type EvmAddress, signEip191 } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { Session } from "@agentkeys/lib/session";

import { admit, nameIdentity } from "../identity/index.ts";
import { awaitLogin, type HeldLogin, parseDeviceName, startWalletLogin } from "../login/index.ts";
import { openTestLogins, type TestLogins } from "../testing/login-parts.ts";
import { claimWallet, startChallenge, startLoginChallenge, verifyWallet } from "./index.ts";

let now = Date.UTC(2030, 0, 1);
let logins: TestLogins;
beforeAll(async () => {
  logins = await openTestLogins({ clock: () => now });
});
afterAll(() => logins.close());

const caller = { sourceAddress: "192.0.2.1", requestId: "r", userAgent: "" };
const WALLETS = 2;
const deed = fc.record({
  do: fc.constantFrom("begin", "answer", "collect", "link"),
  wallet: fc.nat({ max: WALLETS - 1 }),
  who: fc.nat({ max: 1 }),
  which: fc.nat(),
});
type Deed = typeof deed extends fc.Arbitrary<infer T> ? T : never;

let wallets = 0;
/** A few wallets whose keys are the test's, two people, and sign-ins at every stage. */
async function newWorld() {
  const parts = { ...logins.parts, ...logins.store, sessionKeys: logins.sessionKeys };
  const keys = Array.from({ length: WALLETS }, () => Buffer.from((++wallets).toString(16).padStart(64, "0"), "hex"));
  const addresses = keys.map(addressOfSecretKey);
  const people = await Promise.all(["ada", "eve"].map((name) => signedIn(`${name}-${wallets}@example.com`)));
  const begun: { held: HeldLogin; requestId: string; signature: string }[] = [];

  async function signedIn(email: string): Promise<Session> {
    const { identity } = await parts.transaction((tx) =>
      admit(tx, nameIdentity({ type: "email", value: email }, parts.clientId), parts, now),
    );
    const { record } = await parts.sessionIssuer.issueIdentitySession(parts.sessions, {
      ...{ anchor: identity.anchor, identity: identity.omniAccount, deviceName: "", sourceAddress: "" },
      restricted: false,
    });
    return { ...record, kind: "identity", id: record.sessionId, issuedAt: now };
  }
  const sign = (wallet: number, message: string): string => signEip191(keys[wallet]!, Buffer.from(message));
  const answer = (requestId: string, signature: string) =>
    verifyWallet(parts, { requestId, signature, dpopThumbprint: undefined, caller });

  const perform = async ({ do: what, wallet, who, which }: Deed): Promise<void> => {
    const [address, session] = [addresses[wallet]!, people[who]!];
    const started = begun[which % Math.max(1, begun.length)];
    switch (what) {
      case "begin": {
        const request = {
          purpose: "sign-in",
          deviceName: parseDeviceName(""),
          dpopThumbprint: undefined,
          caller,
        } as const;
        const { loginId, loginSecret } = await startWalletLogin(parts, request);
        const held = { loginId, loginSecret: loginSecret.reveal(), dpopThumbprint: undefined };
        const { challenge } = await startLoginChallenge(parts, { address, holder: held, caller });
        begun.push({ held, requestId: challenge.requestId, signature: sign(wallet, challenge.message) });
        return;
      }
      case "answer":
        if (started !== undefined) await answer(started.requestId, started.signature);
        return;
      case "collect":
        if (started === undefined) return;
        await awaitLogin(parts, { ...started.held, caller, patienceMs: 0, signal: new AbortController().signal });
        return;
      case "link": {
        await claimWallet(parts, { address, session, caller });
        const { challenge } = await startChallenge(parts, { address, session, caller });
        await answer(challenge.requestId, sign(wallet, challenge.message));
      }
    }
  };
  return { perform, addresses };
}

test("whatever people sign, link and collect, and in whatever order: an address is an identity or a wallet of an account, never both", async () => {
  const ends = { identity: 0, wallet: 0 };
  const refusals = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(deed, { minLength: 5, maxLength: 25 }), async (deeds) => {
      now += 20 * MINUTE;
      const world = await newWorld();
      for (const each of deeds) {
        await world.perform(each).catch((error: unknown) => {
          if (!(error instanceof Failure)) throw error;
          refusals.add(ErrorReason[error.reason]);
        });
        for (const address of world.addresses) expect(await standingOf(address)).not.toBe("both");
      }
      for (const address of world.addresses) {
        const standing = await standingOf(address);
        if (standing === "identity" || standing === "wallet") ends[standing]++;
      }
    }),
    { numRuns: 40 },
  );
  // All of it happened, and all of it was refused.
  expect(ends.identity).toBeGreaterThan(0);
  expect(ends.wallet).toBeGreaterThan(0);
  for (const reason of ["WALLET_NOT_OWN", "WALLET_TAKEN", "CHALLENGE_SPENT"]) expect(refusals).toContain(reason);
}, 60_000);

async function standingOf(address: EvmAddress): Promise<"identity" | "wallet" | "both" | "neither"> {
  const { omniAccount } = nameIdentity({ type: "evm", value: address }, logins.parts.clientId);
  const identity = (await logins.store.identities.find(omniAccount)) !== undefined;
  const wallet = (await logins.store.wallets.verifiedOwner(address)) !== undefined;
  if (identity && wallet) return "both";
  return identity ? "identity" : wallet ? "wallet" : "neither";
}
