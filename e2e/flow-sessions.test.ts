import { chmodSync, cpSync } from "node:fs";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type Access, accessFor } from "agentkeys/access.ts";
import { deriveWallet, mintOidcJwt, signInWithWallet } from "agentkeys/enrolment.ts";
import { systemSleep } from "agentkeys/io.ts";
import { directRoute } from "agentkeys/key-service.ts";
import { callKeyService, callBroker } from "agentkeys/services.ts";
import { openState } from "agentkeys/state/index.ts";

import { SECOND } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";
import { createDpopKey } from "@agentkeys/lib/session";

import { createMachine, type Machine } from "./harness/machine.ts";
import { plainBrowser } from "./harness/plain-browser.ts";
import { startSystem, type System } from "./harness/system.ts";
import { createUndoStack } from "./harness/undo-stack.ts";

let offset = 0;
const clock = (): number => Date.now() + offset;
const parts = { clock, random: systemRandom, sleep: systemSleep };

let system: System;
const undo = createUndoStack();
beforeAll(async () => {
  system = await startSystem({ clock });
  undo.add(() => system.close());
});
afterAll(() => undo.run());

/** Somebody who has signed in, and what their machine can do at the services. */
async function signedIn(email: string): Promise<{ machine: Machine; access: Access }> {
  const machine = createMachine({ system, clock });
  undo.add(() => machine.remove());
  await machine.signIn(email, plainBrowser());
  return { machine, access: await accessOf(machine) };
}

async function accessOf(machine: Machine): Promise<Access> {
  const enrolment = await openState(machine.folder).require();
  return accessFor(enrolment, { ...parts, keyService: directRoute(system.keys.url) });
}

/** The reason that a call is refused with. */
async function reasonOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "OK",
    (error: unknown) => (error as { reason?: string }).reason ?? String(error),
  );
}

describe("a session that is revoked", () => {
  test("stops working at the broker at once, and at the key service within 10 seconds, on every copy of it", async () => {
    const { machine, access } = await signedIn("lost@example.com");
    const wallet = await deriveWallet(access);
    const walletSession = await signInWithWallet(access, wallet);
    const thief = createMachine({ system, clock });
    undo.add(() => thief.remove());
    cpSync(machine.folder, thief.folder, { recursive: true });
    // Node 24 makes the copy of a folder with the usual mode.
    chmodSync(thief.folder, 0o700);
    expect((await thief.agentkeys("token")).code).toBe(0);

    expect((await machine.agentkeys("logout")).code).toBe(0);
    expect(await reasonOf(access.asPerson.account.whoAmI({}))).toBe("SESSION_REVOKED");
    // What came from it ends with it.
    expect(await reasonOf(mintOidcJwt(access, walletSession))).toBe("SESSION_REVOKED");
    const { code, stdout, stderr } = await thief.agentkeys("token");
    expect({ code, stdout }).toEqual({ code: 4, stdout: "" });
    expect(stderr).toContain("session was revoked");
    offset += 10 * SECOND;
    const { omniAccount } = access.enrolment;
    expect(await reasonOf(access.keys.deriveAddress({ omniAccount }))).toBe("SESSION_REVOKED");
    expect(await reasonOf(access.keys.signMessage({ omniAccount, messageHex: "00" }))).toBe("SESSION_REVOKED");
  });

  test("leaves the other machines of its account alone", async () => {
    const [first, second] = [await signedIn("two@example.com"), await signedIn("two@example.com")];
    expect((await first.machine.agentkeys("logout")).code).toBe(0);
    offset += 10 * SECOND;
    expect((await second.machine.agentkeys("token")).code).toBe(0);
  });

  test("can be ended from another machine of the account, and not from anybody else's", async () => {
    const [lost, mine, stranger] = [
      await signedIn("owner@example.com"),
      await signedIn("owner@example.com"),
      await signedIn("eve@example.com"),
    ];
    const { session } = await lost.access.asPerson.account.whoAmI({});
    const revoke = { sessionId: session!.sessionId };
    expect(await reasonOf(stranger.access.asPerson.account.revokeSession(revoke))).toBe("SESSION_NOT_FOUND");
    expect((await lost.machine.agentkeys("token")).code).toBe(0);
    expect(await reasonOf(mine.access.asPerson.account.revokeSession(revoke))).toBe("OK");
    offset += 10 * SECOND;
    expect((await lost.machine.agentkeys("token")).code).toBe(4);
  });
});

describe("a session of one kind", () => {
  test("does not do what the other kind is for", async () => {
    const { access } = await signedIn("kinds@example.com");
    const { enrolment, asPerson } = access;
    const { omniAccount, session } = enrolment;
    const wallet = await signInWithWallet(access, await deriveWallet(access));
    const key = await createDpopKey(enrolment.deviceKey, parts);

    expect(await reasonOf(asPerson.wallet.mintOidcJwt({}))).toBe("SESSION_KIND");
    expect(await reasonOf(access.asWallet(wallet.token).account.whoAmI({}))).toBe("SESSION_KIND");
    expect(await reasonOf(access.asWallet(wallet.token).login.renewSession({}))).toBe("SESSION_KIND");
    expect(await reasonOf(access.asWallet(wallet.token).wallet.linkWallet({ address: wallet.address }))).toBe(
      "SESSION_KIND",
    );
    const keysByWallet = callKeyService(directRoute(system.keys.url), { key, token: wallet.token });
    expect(await reasonOf(keysByWallet.deriveAddress({ omniAccount }))).toBe("SESSION_KIND");

    // An OIDC JWT is signed by the same broker, and is no session anywhere.
    const { jwt } = await mintOidcJwt(access, wallet);
    expect(await reasonOf(access.asWallet(jwt).wallet.mintOidcJwt({}))).toBe("SESSION_INVALID");
    const keysByJwt = callKeyService(directRoute(system.keys.url), { key, token: jwt });
    expect(await reasonOf(keysByJwt.deriveAddress({ omniAccount }))).toBe("SESSION_INVALID");
    expect(session.token.reveal()).not.toBe(wallet.token.reveal());
  });

  test("is worth nothing without its device key, or with another", async () => {
    const [ada, eve] = [await signedIn("bound@example.com"), await signedIn("unbound@example.com")];
    const { token } = ada.access.enrolment.session;
    const evesKey = await createDpopKey(eve.access.enrolment.deviceKey, parts);
    const { omniAccount } = ada.access.enrolment;
    const stolen = { key: evesKey, token };
    expect(await reasonOf(callBroker(system.broker.publicUrl, stolen).account.whoAmI({}))).toBe("DPOP_INVALID");
    expect(await reasonOf(callKeyService(directRoute(system.keys.url), stolen).deriveAddress({ omniAccount }))).toBe(
      "DPOP_INVALID",
    );
    const bearer = await fetch(`${system.keys.url}/dev/derive-address`, {
      method: "POST",
      headers: { authorization: `Bearer ${token.reveal()}`, "content-type": "application/json" },
      body: JSON.stringify({ omni_account: omniAccount }),
    });
    expect([bearer.status, await bearer.text()]).toEqual([401, expect.stringContaining("DPOP_INVALID")]);
  });

  test("reaches its own account's wallet and no other", async () => {
    const [ada, eve] = [await signedIn("ada@example.com"), await signedIn("eve2@example.com")];
    const { omniAccount } = ada.access.enrolment;
    expect(await reasonOf(eve.access.keys.deriveAddress({ omniAccount }))).toBe("WRONG_ACCOUNT");
    expect(await reasonOf(eve.access.keys.signMessage({ omniAccount, messageHex: "00" }))).toBe("WRONG_ACCOUNT");
  });
});

describe("a sign-in", () => {
  test("is collected once, by the program that began it, with the device key that it began with", async () => {
    const { access } = await signedIn("collector@example.com");
    const [key, otherKey] = [
      await createDpopKey(access.enrolment.deviceKey, parts),
      await createDpopKey((await signedIn("other@example.com")).access.enrolment.deviceKey, parts),
    ];
    const { login } = callBroker(system.broker.publicUrl, { key });
    const { loginId, loginSecret } = await login.startEmailLogin({ email: "once@example.com" });
    await plainBrowser().confirm((await system.nextMail("once@example.com")).links[0]!);

    const stranger = callBroker(system.broker.publicUrl, { key: otherKey }).login;
    expect(await reasonOf(stranger.awaitLogin({ loginId, loginSecret }))).toBe("DPOP_INVALID");
    expect(await reasonOf(login.awaitLogin({ loginId, loginSecret: "A".repeat(43) }))).toBe("LOGIN_NOT_FOUND");
    expect(await reasonOf(login.awaitLogin({ loginId, loginSecret }))).toBe("OK");
    expect(await reasonOf(login.awaitLogin({ loginId, loginSecret }))).toBe("LOGIN_NOT_FOUND");
  });

  test("that the person refuses gives nothing", async () => {
    const machine = createMachine({ system, clock });
    undo.add(() => machine.remove());
    const running = machine.agentkeys("init", "--email", "victim@example.com");
    await plainBrowser().refuse((await system.nextMail("victim@example.com")).links[0]!);
    const { code, stderr } = await running;
    expect(code).toBe(1);
    expect(stderr).toContain("refused");
    expect((await machine.agentkeys("whoami")).code).toBe(4);
  });
});

test("a proof is good for one call", async () => {
  const { access } = await signedIn("replay@example.com");
  const { session, deviceKey, omniAccount } = access.enrolment;
  const key = await createDpopKey(deviceKey, parts);
  const url = `${system.keys.url}/dev/derive-address`;
  const accessToken = session.token.reveal();
  const proof = await key.prove({ method: "POST", url, accessToken });
  const call = () =>
    fetch(url, {
      method: "POST",
      headers: { authorization: `DPoP ${accessToken}`, dpop: proof, "content-type": "application/json" },
      body: JSON.stringify({ omni_account: omniAccount }),
    });
  expect((await call()).status).toBe(200);
  const replayed = await call();
  expect([replayed.status, await replayed.text()]).toEqual([401, expect.stringContaining("DPOP_REPLAYED")]);
});
