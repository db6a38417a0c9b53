import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import type { OmniAccount } from "@agentkeys/lib/account";
import { MINUTE } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { systemRandom } from "@agentkeys/lib/random";

import { nameIdentity } from "../identity/index.ts";
import { createLimits } from "../limits/index.ts";
import { type Algorithm, createSoftPasskey, type Lies, type SoftPasskey } from "../testing/authenticator.ts";
import { openTestLogins, type TestLogins } from "../testing/login-parts.ts";
import {
  addPasskeyOptions,
  authenticationOptions,
  type Browser,
  type NewPasskey,
  type PasskeyParts,
  registrationOptions,
  stepUpOptions,
  verifyAddedPasskey,
  verifyAuthentication,
  verifyRegistration,
  verifyStepUp,
} from "./index.ts";

const ORIGIN = "https://keys.example";
const caller = { sourceAddress: "192.0.2.1", requestId: "r", userAgent: "" };
const email = nameIdentity({ type: "email", value: "ada@example.com" }, "agentkeys");

let now = Date.UTC(2030, 0, 1);
let logins: TestLogins;
let parts: PasskeyParts;
beforeAll(async () => {
  logins = await openTestLogins({ clock: () => now });
  parts = {
    ...logins.store,
    limits: createLimits({ wrongSignatures: { times: 1e9, seconds: 1 } }),
    publicUrl: () => ORIGIN,
    clock: () => now,
    random: systemRandom,
  };
  const { accounts, identities } = logins.store;
  await accounts.insert(email.omniAccount, now);
  await identities.link(email, email.omniAccount, { linkedAt: now, lastUsedAt: now });
});
afterAll(() => logins.close());

let count = 0;
let browser: Browser;
let passkey: SoftPasskey;
beforeEach(() => {
  browser = { loginId: `login-${++count}`, browserSecret: `secret-${count}` };
  passkey = createSoftPasskey({ origin: ORIGIN });
});

const make = async (lies?: Lies): Promise<NewPasskey> => {
  const options = await registrationOptions(parts, browser);
  return verifyRegistration(parts, browser, { answer: passkey.create(options, lies), caller });
};

/** Links it to the one account that there is. */
async function link(made: NewPasskey, anchor: OmniAccount = email.omniAccount): Promise<void> {
  const name = nameIdentity({ type: "passkey", value: made.credentialId }, "agentkeys");
  await logins.store.identities.link(name, anchor, { linkedAt: now, lastUsedAt: now });
  await logins.store.passkeys.insert({ ...made, omniAccount: name.omniAccount, createdAt: now });
}

const use = async (lies?: Lies) => {
  const options = await authenticationOptions(parts, browser);
  return verifyAuthentication(parts, browser, { answer: passkey.get(options, lies), caller });
};

/** Why something was refused; fails where it was not. */
async function reasonOf(work: Promise<unknown>): Promise<string> {
  const outcome: unknown = await work.catch((error: unknown) => error);
  if (outcome instanceof Failure) return ErrorReason[outcome.reason];
  throw new Error("it was not refused", { cause: outcome });
}

/** What is answered of an authenticator or a browser that lies, in both ceremonies. */
const lies: Record<string, Lies> = {
  "for the other ceremony": { type: "webauthn.other" },
  "at another site": { origin: "https://keys.example.evil" },
  "at another port of the site": { origin: "https://keys.example:8443" },
  "in another site's frame": { crossOrigin: true },
  "for another relying party": { rpId: "example" },
  "without anybody there": { userPresent: false },
  "without checking who it is": { userVerified: false },
};

describe("a new passkey", () => {
  test("is asked for as one that signs in by itself and checks its person, without saying whose account it is", async () => {
    const options = await registrationOptions(parts, browser);
    expect(options).toMatchObject({
      rp: { id: "keys.example", name: "AgentKeys" },
      user: { name: "AgentKeys 2030-01-01", displayName: "AgentKeys 2030-01-01" },
      attestation: "none",
      authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" },
      excludeCredentials: [],
    });
    expect(options.pubKeyCredParams.map(({ alg }) => alg)).toEqual([-8, -7, -257]);
    expect(Buffer.from(options.challenge, "base64url")).toHaveLength(32);
    expect(Buffer.from(options.user.id, "base64url")).toHaveLength(32);
    const again = await registrationOptions(parts, browser);
    expect(again.user.id).not.toBe(options.user.id);
    expect(again.challenge).not.toBe(options.challenge);
  });

  test.each<Algorithm>([-7, -8, -257])("signs by COSE algorithm %i, from then on", async (algorithm) => {
    passkey = createSoftPasskey({ origin: ORIGIN, algorithm });
    const made = await make();
    expect(made).toMatchObject({ credentialId: passkey.credentialId, transports: ["internal"], backedUp: false });
    await link(made);
    expect((await use()).credentialId).toBe(passkey.credentialId);
  });

  test.each(Object.keys(lies))("made %s is none", async (name) => {
    expect(await reasonOf(make(lies[name]))).toBe(name.includes("frame") ? "INVALID_REQUEST" : "SIGNATURE_INVALID");
  });

  test("for a challenge that was not made is none", async () => {
    expect(await reasonOf(make({ challenge: "A".repeat(43) }))).toBe("CHALLENGE_NOT_FOUND");
  });

  test("whose id is not the one that its authenticator signed for is none", async () => {
    const options = await registrationOptions(parts, browser);
    const answer = { ...passkey.create(options), id: "A".repeat(43), rawId: "A".repeat(43) };
    expect(await reasonOf(verifyRegistration(parts, browser, { answer, caller }))).toBe("SIGNATURE_INVALID");
  });

  test("cannot have the id of one that is linked", async () => {
    await link(await make());
    const forger = createSoftPasskey({ origin: ORIGIN });
    const options = await registrationOptions(parts, browser);
    const answer = forger.create(options, { credentialId: passkey.credentialId });
    expect(await reasonOf(verifyRegistration(parts, browser, { answer, caller }))).toBe("SIGNATURE_INVALID");
    // The one that was there is the one that signs.
    passkey.counter = 10;
    await use();
  });

  test("comes without certificates: nothing in them is looked at, or fetched", async () => {
    const statement = new Map<string, unknown>([
      ["alg", -7],
      ["sig", new Uint8Array(64)],
      ["x5c", [new Uint8Array(500)]],
    ]);
    for (const format of ["packed", "tpm", "android-key", "apple", "fido-u2f"]) {
      expect(await reasonOf(make({ format, statement }))).toBe("SIGNATURE_INVALID");
    }
  });

  test.each([
    ["nothing", undefined],
    ["a text", "text"],
    ["no type", {}],
    ["no response", { id: "AAAA", rawId: "AAAA", type: "public-key" }],
    [
      "client data that is no JSON",
      { id: "AA", rawId: "AA", type: "public-key", response: { attestationObject: "AA", clientDataJSON: "AA" } },
    ],
    [
      "far too much",
      { id: "AA", rawId: "AA", type: "public-key", response: { attestationObject: "A".repeat(10_000) } },
    ],
  ])("%s is no answer", async (_, answer) => {
    expect(await reasonOf(verifyRegistration(parts, browser, { answer, caller }))).toBe("INVALID_REQUEST");
  });

  test("out of broken bytes is none, and no parser's text is told", async () => {
    const options = await registrationOptions(parts, browser);
    const answer = passkey.create(options) as { response: Record<string, string> };
    answer.response["attestationObject"] = "oWNmbXRjYm9v";
    const refused = verifyRegistration(parts, browser, { answer, caller });
    await expect(refused).rejects.toThrow("what came back is not a new passkey for this site");
  });
});

describe("the signature of a passkey", () => {
  beforeEach(async () => {
    await link(await make());
  });

  test("names it, and is counted", async () => {
    const before = passkey.counter;
    expect(await use()).toMatchObject({ credentialId: passkey.credentialId, signatureCounter: before + 1 });
    expect((await logins.store.passkeys.find(passkey.credentialId))?.signatureCounter).toBe(before + 1);
  });

  test.each(Object.keys(lies))("made %s is worth nothing", async (name) => {
    expect(await reasonOf(use(lies[name]))).toBe(name.includes("frame") ? "INVALID_REQUEST" : "SIGNATURE_INVALID");
  });

  test("over something else, or by another passkey in its name, is worth nothing", async () => {
    expect(await reasonOf(use({ tampered: true }))).toBe("SIGNATURE_INVALID");
    const other = createSoftPasskey({ origin: ORIGIN });
    const options = await authenticationOptions(parts, browser);
    const answer = other.get(options, { credentialId: passkey.credentialId, counter: 99 });
    expect(await reasonOf(verifyAuthentication(parts, browser, { answer, caller }))).toBe("SIGNATURE_INVALID");
  });

  test("of a passkey that is linked nowhere says so", async () => {
    passkey = createSoftPasskey({ origin: ORIGIN });
    expect(await reasonOf(use())).toBe("PASSKEY_UNKNOWN");
  });

  test("is taken once, in time, from the browser that asked, for the sign-in and the ceremony that it asked for", async () => {
    const answerTo = async (): Promise<object> => passkey.get(await authenticationOptions(parts, browser));
    const answer = await answerTo();
    await verifyAuthentication(parts, browser, { answer, caller });
    expect(await reasonOf(verifyAuthentication(parts, browser, { answer, caller }))).toBe("CHALLENGE_NOT_FOUND");

    const strangers: Browser[] = [
      { loginId: "another", browserSecret: `secret-${count}` },
      { loginId: `login-${count}`, browserSecret: "another" },
      { sessionId: `login-${count}` },
    ];
    for (const stranger of strangers) {
      const taken = verifyAuthentication(parts, stranger, { answer: await answerTo(), caller });
      expect(await reasonOf(taken)).toBe("CHALLENGE_NOT_FOUND");
    }
    const registering = await registrationOptions(parts, browser);
    const mixed = passkey.get({ challenge: registering.challenge });
    expect(await reasonOf(verifyAuthentication(parts, browser, { answer: mixed, caller }))).toBe("CHALLENGE_NOT_FOUND");

    const late = await answerTo();
    now += 5 * MINUTE;
    expect(await reasonOf(verifyAuthentication(parts, browser, { answer: late, caller }))).toBe("CHALLENGE_NOT_FOUND");
  });

  test("sent twice at once counts once", async () => {
    const answer = passkey.get(await authenticationOptions(parts, browser));
    const both = await Promise.allSettled([1, 2].map(() => verifyAuthentication(parts, browser, { answer, caller })));
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  test("that a refused answer was about is used up as well", async () => {
    const options = await authenticationOptions(parts, browser);
    const forged = passkey.get(options, { userVerified: false });
    expect(await reasonOf(verifyAuthentication(parts, browser, { answer: forged, caller }))).toBe("SIGNATURE_INVALID");
    const honest = passkey.get(options);
    expect(await reasonOf(verifyAuthentication(parts, browser, { answer: honest, caller }))).toBe(
      "CHALLENGE_NOT_FOUND",
    );
  });

  test("by a counter that went back or stands still is refused, and its account's history has it", async () => {
    await use();
    const { counter } = passkey;
    for (const lie of [counter, counter - 1, 0]) {
      expect(await reasonOf(use({ counter: lie }))).toBe("SIGNATURE_INVALID");
    }
    const [event] = await logins.store.audit.page(email.omniAccount, 1);
    expect(event).toMatchObject({
      action: "passkey.refused",
      outcome: "SIGNATURE_INVALID",
      subject: passkey.credentialId,
      sourceAddress: caller.sourceAddress,
    });
    expect((await logins.store.passkeys.find(passkey.credentialId))?.signatureCounter).toBe(counter);
  });

  test("by a passkey that does not count is good every time", async () => {
    passkey = createSoftPasskey({ origin: ORIGIN });
    await link(await make({ counter: 0 }));
    for (let times = 0; times < 2; times++) expect((await use({ counter: 0 })).signatureCounter).toBe(0);
    // Once it counts it goes on counting.
    await use({ counter: 5 });
    expect(await reasonOf(use({ counter: 0 }))).toBe("SIGNATURE_INVALID");
  });

  test("is refused unseen once too many were wrong", async () => {
    parts = { ...parts, limits: createLimits({ wrongSignatures: { times: 2, seconds: 60 } }) };
    for (let times = 0; times < 2; times++) expect(await reasonOf(use({ tampered: true }))).toBe("SIGNATURE_INVALID");
    expect(await reasonOf(use())).toBe("RATE_LIMITED");
    parts = { ...parts, limits: createLimits({ wrongSignatures: { times: 1e9, seconds: 1 } }) };
  });
});

describe("in a browser that is signed in", () => {
  const session = { sessionId: "session", anchor: email.omniAccount };

  test("the account's own passkeys prove who it is, and are not made twice", async () => {
    const other = nameIdentity({ type: "email", value: "eve@example.com" }, "agentkeys");
    await logins.store.accounts.insert(other.omniAccount, now);
    const stranger = { sessionId: "other", anchor: other.omniAccount };
    expect(await stepUpOptions(parts, stranger)).toBeUndefined();

    const options = await addPasskeyOptions(parts, session);
    await link(await verifyAddedPasskey(parts, session, { answer: passkey.create(options), caller }));
    const known = (await stepUpOptions(parts, session))?.allowCredentials?.map(({ id }) => id);
    expect(known).toContain(passkey.credentialId);
    expect((await addPasskeyOptions(parts, session)).excludeCredentials?.map(({ id }) => id)).toEqual(known);

    const asked = await stepUpOptions(parts, session);
    if (asked === undefined) throw new Error("the account has a passkey");
    const identity = await verifyStepUp(parts, session, { answer: passkey.get(asked), caller });
    expect(identity).toMatchObject({ type: "passkey", value: passkey.credentialId, anchor: email.omniAccount });
  });

  test("another account's passkey, and one that was reported, prove nothing", async () => {
    await link(await make());
    const stranger = {
      sessionId: "other",
      anchor: nameIdentity({ type: "email", value: "m@e.example" }, "a").omniAccount,
    };
    const foreign = passkey.get(await authenticationOptions(parts, { sessionId: "other" }));
    expect(await reasonOf(verifyStepUp(parts, stranger, { answer: foreign, caller }))).toBe("WRONG_ACCOUNT");
    const { omniAccount } = nameIdentity({ type: "passkey", value: passkey.credentialId }, "agentkeys");
    await logins.store.identities.suspend(omniAccount, now);
    const asked = await authenticationOptions(parts, { sessionId: "session" });
    const reported = verifyStepUp(parts, session, { answer: passkey.get(asked), caller });
    expect(await reasonOf(reported)).toBe("IDENTITY_SUSPENDED");
  });
});

test("a passkey goes with its identity, and what was asked is forgotten", async () => {
  await link(await make());
  const { omniAccount } = nameIdentity({ type: "passkey", value: passkey.credentialId }, "agentkeys");
  await logins.store.identities.unlink(omniAccount);
  expect(await logins.store.passkeys.find(passkey.credentialId)).toBeUndefined();
  await authenticationOptions(parts, browser);
  expect(await logins.store.passkeyChallenges.purge(now)).toBeGreaterThanOrEqual(0);
  expect(await logins.store.passkeyChallenges.purge(now + 6 * MINUTE)).toBeGreaterThan(0);
});

test("at an IP address there are no passkeys, and it is said why", async () => {
  for (const url of ["http://127.0.0.1:8091", "http://[::1]:8091"]) {
    const refused = registrationOptions({ ...parts, publicUrl: () => url }, browser);
    await expect(refused).rejects.toThrow(/IP address/);
  }
  const local = await authenticationOptions({ ...parts, publicUrl: () => "http://localhost:8091" }, browser);
  expect(local.rpId).toBe("localhost");
});
