import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import { computeOmniAccount } from "@agentkeys/lib/account";
import { MINUTE } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { parseEmail } from "../identity/index.ts";
import { openTestLogins, type TestLogins } from "../testing/login-parts.ts";
import { awaitLogin, decideLogin, LOGIN_LIFE_MS, parseDeviceName, reviewLogin, startEmailLogin } from "./index.ts";

let now = Date.UTC(2030, 0, 1);
let logins: TestLogins;
beforeAll(async () => {
  logins = await openTestLogins({ clock: () => now });
});
afterAll(() => logins.close());

const caller = { sourceAddress: "192.0.2.1", requestId: "r", userAgent: "" };
const KEY = "thumbprint";

/** A sign-in by a program that holds KEY, and what reached its mailbox. */
async function start() {
  let linkToken = "";
  const mailer = {
    send: ({ text }: { text: string }) => {
      linkToken = /#([\w-]{43})/.exec(text)?.[1] ?? "";
      return Promise.resolve();
    },
    check: () => Promise.resolve(),
    close: () => undefined,
  };
  const email = parseEmail("ada@example.com");
  const { loginId, loginSecret } = await startEmailLogin(
    { ...logins.parts, mailer, onMailError: () => undefined },
    { purpose: "sign-in", email, deviceName: parseDeviceName("laptop"), dpopThumbprint: KEY, caller },
  );
  return { loginId, secret: loginSecret.reveal(), linkToken };
}

type Started = Awaited<ReturnType<typeof start>>;
const collectAs = (loginId: string, loginSecret: string, dpopThumbprint: string | undefined) =>
  awaitLogin(logins.parts, {
    loginId,
    loginSecret,
    dpopThumbprint,
    caller,
    patienceMs: 0,
    signal: new AbortController().signal,
  });

/** Who may do something, and what. Only the first four have what it takes. */
const deeds = {
  "the person confirms": ({ linkToken }: Started) => decideLogin(logins.parts, "confirm", { linkToken }, caller),
  "the person refuses": ({ linkToken }: Started) => decideLogin(logins.parts, "refuse", { linkToken }, caller),
  "the person looks": ({ linkToken }: Started) => reviewLogin(logins.parts, { linkToken }, caller),
  "the program collects": ({ loginId, secret }: Started) => collectAs(loginId, secret, KEY),
  "a stranger confirms": () => decideLogin(logins.parts, "confirm", { linkToken: "A".repeat(43) }, caller),
  "the program confirms by itself": ({ secret }: Started) =>
    decideLogin(logins.parts, "confirm", { linkToken: secret }, caller),
  "a stranger collects": ({ loginId }: Started) => collectAs(loginId, "A".repeat(43), KEY),
  "who reads the mail collects": ({ loginId, linkToken }: Started) => collectAs(loginId, linkToken, KEY),
  "who stole the secret collects": ({ loginId, secret }: Started) => collectAs(loginId, secret, "other"),
  "who stole the secret collects without a key": ({ loginId, secret }: Started) =>
    collectAs(loginId, secret, undefined),
} satisfies Record<string, (started: Started) => Promise<unknown>>;
type Deed = keyof typeof deeds;
const names = Object.keys(deeds) as Deed[];

/** Some deeds at once, and how long it was quiet before. */
const moment = fc.record({
  pause: fc.integer({ min: 0, max: 4 * MINUTE }),
  together: fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 4 }),
});

test("whoever does what and when, at once or one after another: at most one session, for the program, after a person's Yes", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(moment, { maxLength: 6 }), async (moments) => {
      const begun = ++now;
      const started = await start();
      const succeeded: { deed: Deed; at: number }[] = [];
      for (const { pause, together } of moments) {
        now += pause;
        const outcomes = await Promise.allSettled(together.map((deed) => deeds[deed](started)));
        outcomes.forEach((outcome, i) => {
          if (outcome.status === "fulfilled") succeeded.push({ deed: together[i]!, at: now - begun });
          else expect(outcome.reason).toBeInstanceOf(Failure);
        });
      }
      const done = succeeded.map(({ deed }) => deed).filter((deed) => deed !== "the person looks");
      // Deeds of one moment may be told in either order.
      expect([
        [],
        ["the person refuses"],
        ["the person confirms"],
        ["the person confirms", "the program collects"],
      ]).toContainEqual(done.sort());
      for (const { at } of succeeded) expect(at).toBeLessThan(LOGIN_LIFE_MS);
      expect(await sessionsSince(begun)).toBe(done.includes("the program collects") ? 1 : 0);
    }),
    { numRuns: 60 },
  );
});

test("each of those who may not is refused for what is missing, and the sign-in goes on", async () => {
  const started = await start();
  const reasons: Partial<Record<Deed, string>> = {};
  for (const deed of names.slice(4)) {
    reasons[deed] = await deeds[deed](started).then(
      () => "none",
      (error: unknown) => (error instanceof Failure ? ErrorReason[error.reason] : String(error)),
    );
  }
  expect(reasons).toEqual({
    "a stranger confirms": "LOGIN_NOT_FOUND",
    "the program confirms by itself": "LOGIN_NOT_FOUND",
    "a stranger collects": "LOGIN_NOT_FOUND",
    "who reads the mail collects": "LOGIN_NOT_FOUND",
    "who stole the secret collects": "DPOP_INVALID",
    "who stole the secret collects without a key": "DPOP_INVALID",
  });
  await deeds["the person confirms"](started);
  await deeds["the program collects"](started);
});

test("of a Yes and a No at the same time one counts, and the other is told what became of the sign-in", async () => {
  const started = await start();
  const [yes, no] = await Promise.allSettled([
    deeds["the person confirms"](started),
    deeds["the person refuses"](started),
  ]);
  expect(yes.status).toBe("fulfilled");
  expect(no).toMatchObject({ reason: { message: "the link was used already" } });
});

async function sessionsSince(time: number): Promise<number> {
  const anchor = computeOmniAccount({ clientId: "agentkeys", identityType: "email", identityValue: "ada@example.com" });
  const live = await logins.store.sessions.listLive(anchor, now);
  return live.filter(({ createdAt }) => createdAt >= time).length;
}
