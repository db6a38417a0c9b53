import { decodeJwt, type JWK } from "jose";

import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import type { AwaitLoginResponse, StartEmailLoginResponse } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { type OmniAccount, parseOmniAccount } from "@agentkeys/lib/account";
import { type Clock, MINUTE } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";
import { Secret } from "@agentkeys/lib/secret";
import { createDpopKey, generateDpopKey } from "@agentkeys/lib/session";

import { backoffMs } from "./backoff.ts";
import { printable } from "./printable.ts";
import type { Sleep } from "./io.ts";
import { Problem, problemOf } from "./problem.ts";
import { type Broker, callBroker, invalidAnswer, timeOf } from "./services.ts";
import type { Enrolment } from "./state/index.ts";

/** What the person has to be told while the broker waits for them. */
export interface SignInEvents {
  /** The mail is on its way; the page behind its link shows the same code. `expiresAt`: epoch milliseconds. */
  mailed(code: string, expiresAt: number): void;
  /** The broker cannot be asked right now; or it can again. */
  hiccup(problem: Problem | undefined): void;
}

const BACKOFF = { firstMs: 1000, maxMs: 15_000 };
/** A broker that stays away longer than its sign-ins live has none to give. */
const PATIENCE_MS = 15 * MINUTE;

/**
 * Signs a person in by e-mail: makes a device key, has the broker send the mail, and waits until the button behind the link in it is
 * pressed. The session that comes of it is bound to the device key. @throws Problem LOGIN_*, INVALID_EMAIL, RATE_LIMITED …
 */
export async function signInByEmail(
  o: { brokerUrl: string; email: string; deviceName: string; clock: Clock; random: RandomBytes; sleep: Sleep },
  on: SignInEvents,
): Promise<Enrolment> {
  const deviceKey = await generateDpopKey();
  const broker = callBroker(o.brokerUrl, { key: await createDpopKey(deviceKey, o) });
  const login = await broker.login.startEmailLogin({ email: o.email, deviceName: o.deviceName });
  on.mailed(codeOf(login), timeOf(login.expiresAt));
  const signedIn = await collect(broker, login, o, on);
  return enrolmentOf(signedIn, { brokerUrl: o.brokerUrl, deviceKey, obtainedAt: o.clock() });
}

/** Asks again and again: each call waits at the broker for a while. A broker that is away for a moment does not end the sign-in. */
async function collect(
  broker: Broker,
  login: StartEmailLoginResponse,
  o: { clock: Clock; random: RandomBytes; sleep: Sleep },
  on: SignInEvents,
): Promise<AwaitLoginResponse> {
  const { loginId, loginSecret } = login;
  let failures = 0;
  let lastHeard = o.clock();
  for (;;) {
    try {
      return await broker.login.awaitLogin({ loginId, loginSecret });
    } catch (error) {
      const problem = problemOf(error);
      if (problem.kind !== "passing") throw explainEnd(problem);
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

function explainEnd(problem: Problem): Problem {
  const again = { remedy: "Run `agentkeys init` again.", cause: problem };
  switch (problem.reason) {
    case "LOGIN_EXPIRED":
      return new Problem(problem.reason, "standing", "The sign-in was not confirmed in time.", again);
    case "LOGIN_REFUSED":
      return new Problem(problem.reason, "standing", "The sign-in was refused on the page behind the link.", again);
    case "LOGIN_NOT_FOUND":
      return new Problem(
        problem.reason,
        "standing",
        "The broker no longer knows this sign-in, or its session was handed out already.",
        again,
      );
    default:
      return problem;
  }
}

function codeOf({ userCode }: StartEmailLoginResponse): string {
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
    identity: { type: IdentityType[identity.type].toLowerCase(), value: printable(identity.value) },
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
