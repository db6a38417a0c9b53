import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import type { IdentityType, OmniAccount } from "@agentkeys/lib/account";
import { DAY, MINUTE } from "@agentkeys/lib/clock";
import { Failure } from "@agentkeys/lib/failure";
import { systemRandom } from "@agentkeys/lib/random";
import type { Session } from "@agentkeys/lib/session";

import { admit, type IdentityName, nameIdentity } from "../identity/index.ts";
import { createLimits } from "../limits/index.ts";
import type { Login, LoginIdentity, LoginMethod, LoginPurpose } from "../login/index.ts";
import { parseDeviceName } from "../login/index.ts";
import { hashOf } from "../login/secrets.ts";
import { hashOfToken, reportNotice, tellOthers } from "../notices/index.ts";
import type { NewPasskey } from "../passkey/index.ts";
import type { BrokerStore } from "../store/index.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { silent } from "../testing/broker.ts";
import type { SessionRecord } from "../token/index.ts";
import { linkIdentity, mergeAccount, stepUp, unfreezeAccount, unlinkIdentity } from "./index.ts";

const IDENTITIES: LoginIdentity[] = [
  ...["a@example.com", "b@example.com", "c@example.com"].map((value) => ({ type: "email" as const, value })),
  ...["1", "2"].map((digit) => ({ type: "evm" as const, value: `0x${digit.repeat(40)}` })),
];
const identityAt = (at: number): LoginIdentity => IDENTITIES[at] ?? { type: "email", value: "" };
const nameOf = (at: number) => nameIdentity(identityAt(at), "agentkeys");
const caller = { sourceAddress: "192.0.2.1", requestId: "r", userAgent: "" };
const limits = createLimits(Object.fromEntries([["wrongLinks", { times: 1e9, seconds: 1 }]]));

let folder: string;
let store: BrokerStore;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "agentkeys-model-"));
  store = await openSqliteStore({ path: join(folder, "broker.sqlite"), clientId: "agentkeys", log: silent });
});
afterAll(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Passkeys that people may have made; each may be linked, used, taken off, and linked anew as a new one. */
const PASSKEYS = ["passkey-1", "passkey-2", "passkey-3"];
const passkeyName = (passkey: number) => nameIdentity({ type: "passkey", value: PASSKEYS[passkey] ?? "" }, "agentkeys");

const identity = fc.nat({ max: IDENTITIES.length - 1 });
const passkey = fc.nat({ max: PASSKEYS.length - 1 });
const machine = fc.nat({ max: 5 });
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant("sign in" as const), identity }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("link" as const), machine, identity }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("unlink" as const), machine, identity }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("step up" as const), machine, identity }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("make passkey" as const), machine, passkey }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("sign in by passkey" as const), passkey }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("step up by passkey" as const), machine, passkey }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("take passkey off" as const), machine, passkey }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("report" as const), notice: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("unfreeze" as const), machine }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("wait" as const), days: fc.constantFrom(0.002, 1, 100, 200) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** One world: mailboxes and wallets, machines that signed in, and every mail's link that was ever made. */
function newWorld(start: number) {
  let now = start;
  let count = 0;
  const machines: Session[] = [];
  const links: string[] = [];
  const parts = {
    ...store,
    clientId: "agentkeys",
    dormantAfterMs: 180 * DAY,
    limits,
    clock: () => now,
    random: systemRandom,
  };
  const proven = (at: number, purpose: LoginPurpose) => provenAs(identityAt(at), purpose);
  const provenAs = async (identity: LoginIdentity, purpose: LoginPurpose) => {
    const [loginId, loginSecret] = [`login-${start}-${++count}`, `secret-${count}`];
    const bySignature = methods[identity.type] !== undefined;
    const login: Login = {
      loginId,
      method: methods[identity.type] ?? "email",
      purpose,
      ...(!bySignature && { identity }),
      secretHash: hashOf(loginSecret),
      confirmHash: hashOf(loginId),
      userCode: "",
      deviceName: parseDeviceName(""),
      sourceAddress: "",
      userAgent: "",
      status: "pending",
      createdAt: now,
      expiresAt: now + 15 * MINUTE,
    };
    await store.logins.insert(login);
    const made = identity.type === "passkey" && purpose === "link" ? { newPasskey: newPasskey(identity.value) } : {};
    await (bySignature
      ? store.logins.prove(loginId, identity, now, made)
      : store.logins.advance(loginId, "pending", "confirmed", now));
    return { loginId, loginSecret, dpopThumbprint: undefined };
  };
  const signIn = async (name: IdentityName): Promise<void> => {
    const session = await store.transaction(async (tx) => {
      const { identity, account } = await admit(tx, name, parts, now);
      const id = `session-${start}-${++count}`;
      const record: SessionRecord = {
        sessionId: id,
        kind: "identity",
        subject: identity.anchor,
        anchor: identity.anchor,
        identity: identity.omniAccount,
        deviceName: "",
        sourceAddress: "",
        signedInAt: now,
        provenAt: now,
        restricted: account.frozenAt !== undefined,
        lastAudience: "",
        createdAt: now,
        expiresAt: now + 400 * DAY,
      };
      await tx.sessions.insert(record);
      const news = { kind: "machine", subject: "", by: identity.omniAccount, reported: identity.omniAccount } as const;
      await tellOthers(tx, parts, identity.anchor, news, caller);
      return { ...record, kind: "identity" as const, id, issuedAt: now };
    });
    machines.push(session);
  };
  /** What the door does before any of it: a session that has ended is nobody's, a restricted one may not do everything. */
  const acting = async (which: number, { restrictedToo }: { restrictedToo: boolean }): Promise<Session | undefined> => {
    const session = machines[which % Math.max(1, machines.length)];
    const record = session && (await store.sessions.find(session.id));
    if (session === undefined || record === undefined || hasEnded(record, now)) return undefined;
    return session.restricted && !restrictedToo ? undefined : session;
  };
  const perform = async (s: Step): Promise<void> => {
    switch (s.do) {
      case "wait":
        now += s.days * DAY;
        return;
      case "sign in":
        return signIn(nameOf(s.identity));
      case "report": {
        const token = links[s.notice % Math.max(1, links.length)];
        if (token !== undefined) await reportNotice(parts, token, caller);
        return;
      }
      case "link": {
        const session = await acting(s.machine, { restrictedToo: false });
        if (session === undefined) return;
        const request = { login: await proven(s.identity, "link"), session, caller };
        const outcome = await linkIdentity(parts, request);
        if ("offerId" in outcome) await mergeAccount(parts, { ...request, offerId: outcome.offerId });
        return;
      }
      case "step up": {
        const session = await acting(s.machine, { restrictedToo: true });
        if (session !== undefined) await stepUp(parts, { login: await proven(s.identity, "step-up"), session, caller });
        return;
      }
      case "unlink": {
        const session = await acting(s.machine, { restrictedToo: true });
        if (session !== undefined)
          await unlinkIdentity(parts, { identity: nameOf(s.identity).omniAccount, session, caller });
        return;
      }
      case "sign in by passkey": {
        // What has signed is known: nobody can sign with a passkey that is linked nowhere, but may have been taken off since.
        return signIn(passkeyName(s.passkey));
      }
      case "make passkey": {
        const session = await acting(s.machine, { restrictedToo: false });
        if (session === undefined) return;
        const login = await provenAs({ type: "passkey", value: PASSKEYS[s.passkey] ?? "" }, "link");
        await linkIdentity(parts, { login, session, caller });
        return;
      }
      case "step up by passkey": {
        const session = await acting(s.machine, { restrictedToo: true });
        if (session === undefined) return;
        const login = await provenAs({ type: "passkey", value: PASSKEYS[s.passkey] ?? "" }, "step-up");
        await stepUp(parts, { login, session, caller });
        return;
      }
      case "take passkey off": {
        const session = await acting(s.machine, { restrictedToo: true });
        const identity = passkeyName(s.passkey).omniAccount;
        if (session !== undefined) await unlinkIdentity(parts, { identity, session, caller });
        return;
      }
      case "unfreeze": {
        const session = await acting(s.machine, { restrictedToo: true });
        if (session !== undefined) await unfreezeAccount(parts, { session, caller });
      }
    }
  };
  const deliver = async (): Promise<void> => {
    for (const notice of await store.notices.listUnsent(1000)) {
      const token = `token-${notice.noticeId}`;
      await store.notices.setToken(notice.noticeId, hashOfToken(token));
      await store.notices.markSent(notice.noticeId, now);
      links.push(token);
    }
  };
  return { perform, deliver, machines, now: () => now };
}

const methods: Partial<Record<IdentityType, LoginMethod>> = { evm: "wallet", passkey: "passkey" };

function newPasskey(credentialId: string): NewPasskey {
  return { credentialId, publicKey: "", signatureCounter: 0, transports: [], backedUp: false };
}

function hasEnded({ revokedAt, expiresAt }: SessionRecord, now: number): boolean {
  return revokedAt !== undefined || expiresAt <= now;
}

/** What must hold whatever people do. */
async function checkInvariants(machines: readonly Session[], ended: Set<OmniAccount>, now: number): Promise<void> {
  const found = await Promise.all(IDENTITIES.map((_, at) => store.identities.find(nameOf(at).omniAccount)));
  const anchors = new Set(found.flatMap((identity) => (identity === undefined ? [] : [identity.anchor])));
  for (const at of PASSKEYS.keys()) {
    const { omniAccount } = passkeyName(at);
    // A passkey starts no account; what it signs with is there exactly as long as it is linked.
    expect(await store.accounts.find(omniAccount)).toBeUndefined();
    const linked = await store.identities.find(omniAccount);
    if (linked !== undefined) anchors.add(linked.anchor);
    expect((await store.passkeys.find(PASSKEYS[at] ?? ""))?.omniAccount).toBe(linked && omniAccount);
  }
  for (const at of IDENTITIES.keys()) {
    const anchor = nameOf(at).omniAccount;
    const account = await store.accounts.find(anchor);
    if (account === undefined) continue;
    const identities = await store.identities.listOf(anchor);
    if (account.mergedInto === undefined) {
      // An account that lives can be signed in to; it is its anchor's name that never changes.
      expect(identities.some(({ suspendedAt }) => suspendedAt === undefined)).toBe(true);
    } else {
      ended.add(anchor);
      expect(anchors).toContain(account.mergedInto);
    }
    // An account that has ended never comes back to life, and nobody acts for it: its wallet is nobody's.
    if (ended.has(anchor)) {
      expect(account.mergedInto).toBeDefined();
      expect(identities).toEqual([]);
    }
  }
  for (const { id, anchor, identity, restricted } of machines) {
    const record = await store.sessions.find(id);
    if (record === undefined || hasEnded(record, now)) continue;
    // Whoever acts for an account signed in with an identity that is still its own and not suspended.
    const own = identity && (await store.identities.find(identity));
    expect(own?.anchor).toBe(anchor);
    expect(own?.suspendedAt).toBeUndefined();
    // A frozen account is acted for by restricted sessions only.
    if ((await store.accounts.find(anchor))?.frozenAt !== undefined) expect(restricted).toBe(true);
  }
}

test("whatever several people do, no wallet changes hands, no account is lost or shared, and anchors never change", async () => {
  let start = Date.UTC(2030, 0, 1);
  const done = { steps: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
      start += 1000 * DAY;
      await clear();
      const world = newWorld(start);
      const ended = new Set<OmniAccount>();
      for (const each of steps) {
        await world.perform(each).then(
          () => done.steps++,
          (error: unknown) => {
            if (!(error instanceof Failure)) throw error;
            done.refused++;
          },
        );
        await world.deliver();
        await checkInvariants(world.machines, ended, world.now());
      }
    }),
    { numRuns: 100 },
  );
  // Neither everything nor nothing was refused.
  expect(done.steps).toBeGreaterThan(100);
  expect(done.refused).toBeGreaterThan(100);
}, 60_000);

async function clear(): Promise<void> {
  const { default: Libsql } = await import("libsql");
  const file = new Libsql(join(folder, "broker.sqlite"));
  for (const table of ["notice", "session", "login", "passkey", "identity", "audit_event", "wallet_link", "account"])
    file.exec(`DELETE FROM ${table}`);
  file.close();
}
