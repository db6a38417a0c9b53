import { decodeJwt, type JWK } from "jose";

import { type AwaitLoginResponse, LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { type OmniAccount, parseOmniAccount } from "@agentkeys/lib/account";
import { type Clock, MINUTE } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";
import { Secret } from "@agentkeys/lib/secret";
import { createDpopKey, generateDpopKey } from "@agentkeys/lib/session";

import { backoffMs } from "./backoff.ts";
import { printable } from "./printable.ts";
import type { Sleep } from "./io.ts";
import { confirmByHand, type SignatureEvents } from "./pasted-signature.ts";
import { Problem, problemOf } from "./problem.ts";
import { type Broker, callBroker, invalidAnswer, timeOf } from "./services.ts";
import type { SignInMethod } from "./sign-in-method.ts";
import type { Enrolment } from "./state/index.ts";
import { typeName } from "./wire-identity.ts";

/** What the person has to be told while the broker waits for them. `expiresAt`: epoch milliseconds. */
export interface SignInEvents extends SignatureEvents {
  /** The mail is on its way; the page behind its link shows the same code. */
  mailed(email: string, code: string, expiresAt: number): void;
  /** A page has to be opened, which shows the same code and leads on to the identity provider. */
  openPage(url: string, provider: string, code: string, expiresAt: number): void;
  /** A page has to be opened in a browser that has the person's wallet; it and the wallet show the same code. */
  openWalletPage(url: string, code: string, expiresAt: number): void;
  /** A page has to be opened, which shows the same code, and asks for a passkey or makes one. */
  openPasskeyPage(url: string, code: string, expiresAt: number): void;
  /** The broker cannot be asked right now; or it can again. */
  hiccup(problem: Problem | undefined): void;
}

const BACKOFF = { firstMs: 1000, maxMs: 15_000 };
/** A broker that stays away longer than its sign-ins live has none to give. */
const PATIENCE_MS = 15 * MINUTE;

/** What waiting needs. */
export interface Waiting {
  clock: Clock;
  random: RandomBytes;
  sleep: Sleep;
}

/**
 * Signs a person in: makes a device key, has the broker ask the person by mail, at an identity provider, for their wallet's signature or
 * for a passkey, and waits until they have agreed. The session that comes of it is bound to the device key.
 * @throws Problem LOGIN_*, INVALID_EMAIL, RATE_LIMITED …
 */
export async function signIn(
  o: Waiting & { brokerUrl: string; method: SignInMethod; deviceName: string },
  on: SignInEvents,
): Promise<Enrolment> {
  const deviceKey = await generateDpopKey();
  const broker = callBroker(o.brokerUrl, { key: await createDpopKey(deviceKey, o) });
  const login = await startSignIn(broker, { ...o, purpose: LoginPurpose.SIGN_IN, sites: [o.brokerUrl] }, on);
  const signedIn = await untilDecided(() => broker.login.awaitLogin(login), o, on, "Run `agentkeys init` again.");
  return enrolmentOf(signedIn, { brokerUrl: o.brokerUrl, deviceKey, obtainedAt: o.clock() });
}

/** What a program keeps of a sign-in that it started. */
export interface StartedSignIn {
  loginId: string;
  loginSecret: string;
}

/** Has the broker ask a person who they are, and says what the person has to do. `sites`: the URLs that the broker is known by. */
export async function startSignIn(
  { login, wallet }: Pick<Broker, "login" | "wallet">,
  o: { method: SignInMethod; deviceName: string; purpose: LoginPurpose; sites: readonly string[] },
  on: SignInEvents,
): Promise<StartedSignIn> {
  const { method, deviceName, purpose } = o;
  if ("email" in method) {
    const started = await login.startEmailLogin({ email: method.email, deviceName, purpose });
    on.mailed(printable(method.email.trim()), codeOf(started), timeOf(started.expiresAt));
    return started;
  }
  if ("passkey" in method) {
    const started = await login.startPasskeyLogin({ deviceName, purpose });
    on.openPasskeyPage(pageOf(started.pageUrl), codeOf(started), timeOf(started.expiresAt));
    return started;
  }
  if ("wallet" in method) {
    const started = await login.startWalletLogin({ deviceName, purpose });
    const [code, expiresAt] = [codeOf(started), timeOf(started.expiresAt)];
    const { signsHere: address } = method.wallet;
    if (address === undefined) on.openWalletPage(pageOf(started.pageUrl), code, expiresAt);
    else await confirmByHand({ wallet }, { ...started, code, expiresAt }, { ...o, address }, on);
    return started;
  }
  const started = await login.startOauthLogin({ provider: method.provider, deviceName, purpose });
  const url = pageOf(started.authorizationUrl);
  on.openPage(url, printable(method.provider), codeOf(started), timeOf(started.expiresAt));
  return started;
}

/**
 * Asks again and again until the person has decided. A broker that is away for a moment does not end the sign-in. `remedy`: what to do
 * where the sign-in itself has come to nothing.
 */
export async function untilDecided<T>(
  ask: () => Promise<T>,
  o: Waiting,
  on: Pick<SignInEvents, "hiccup">,
  remedy: string,
): Promise<T> {
  let failures = 0;
  let lastHeard = o.clock();
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const problem = problemOf(error);
      if (problem.kind !== "passing") throw explainEnd(problem, remedy);
      const pending = problem.reason === "LOGIN_PENDING";
      failures = pending ? 0 : failures + 1;
      if (pending) lastHeard = o.clock();
      if (o.clock() - lastHeard > PATIENCE_MS) throw problem;
      on.hiccup(pending ? undefined : problem);
      const delayMs = pending ? 0 : backoffMs(BACKOFF, failures, o.random);
      await o.sleep(Math.max(problem.details.retryAfterMs ?? 0, delayMs));
    }
  }
}

function explainEnd(problem: Problem, remedy: string): Problem {
  const again = { remedy, cause: problem };
  switch (problem.reason) {
    case "LOGIN_EXPIRED":
      return new Problem(problem.reason, "standing", "The sign-in was not confirmed in time.", again);
    case "LOGIN_REFUSED":
      return new Problem(problem.reason, "standing", "The sign-in was refused by the person who was asked.", again);
    case "LOGIN_NOT_FOUND":
      return new Problem(
        problem.reason,
        "standing",
        "The broker no longer knows this sign-in, or it was used already.",
        again,
      );
    default:
      return problem;
  }
}

/** What a person is asked to open must be a page, whatever the broker says. */
function pageOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:" && url?.protocol !== "http:")
    throw invalidAnswer("broker", "the page to open is none");
  return url.href;
}

function codeOf({ userCode }: { userCode: string }): string {
  if (!/^[0-9A-Z]{4}-[0-9A-Z]{4}$/.test(userCode)) throw invalidAnswer("broker", "the code to compare is none");
  return userCode;
}

function enrolmentOf(
  { sessionJwt, omniAccount, identity, expiresAt }: AwaitLoginResponse,
  o: { brokerUrl: string; deviceKey: Secret<JWK>; obtainedAt: number },
): Enrolment {
  if (identity === undefined) throw invalidAnswer("broker", "it does not say who signed in");
  return {
    brokerUrl: o.brokerUrl,
    issuer: issuerOf(sessionJwt),
    omniAccount: readOmniAccount(omniAccount),
    identity: {
      type: typeName(identity.type),
      value: printable(identity.value),
      ...(identity.displayName.trim() !== "" && { name: printable(identity.displayName).trim() }),
    },
    session: { token: new Secret(sessionJwt), obtainedAt: o.obtainedAt, expiresAt: timeOf(expiresAt) },
    deviceKey: o.deviceKey,
  };
}

function readOmniAccount(text: string): OmniAccount {
  try {
    return parseOmniAccount(text);
  } catch {
    throw invalidAnswer("broker", "what it gives as the account is none");
  }
}

/** The name by which the broker goes in its tokens: its challenges must be for that site. */
function issuerOf(jwt: string): string {
  try {
    const { iss } = decodeJwt(jwt);
    if (iss !== undefined && URL.canParse(iss)) return iss;
  } catch {
    // Falls through to the refusal below.
  }
  throw invalidAnswer("broker", "its session token names no issuer");
}
