import { MINUTE } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { randomId, randomSecret } from "@agentkeys/lib/random";
import { Secret } from "@agentkeys/lib/secret";

import { auditEvent, type Caller } from "../../audit/index.ts";
import type { Email } from "../../identity/index.ts";
import { type Mailer, signInMail } from "../../mail/index.ts";
import type { DeviceName } from "../device-name.ts";
import type { LoginParts } from "../parts.ts";
import { hashOf, newUserCode } from "../secrets.ts";
import type { Login } from "../store.ts";

/** How long a mailed link works. */
export const LOGIN_LIFE_MS = 15 * MINUTE;

export interface EmailLoginRequest {
  email: Email;
  deviceName: DeviceName;
  /** Of the key that starts the sign-in, which alone may collect the session. */
  dpopThumbprint: string | undefined;
  caller: Caller;
}

/** What the program that started it keeps. */
export interface StartedLogin {
  loginId: string;
  loginSecret: Secret;
  userCode: string;
  expiresAt: number;
}

/** Starts a sign-in and mails its link. When the mail cannot be sent, nothing is left of it. @throws Failure RATE_LIMITED, MAIL_NOT_SENT */
export async function startEmailLogin(
  {
    logins,
    transaction,
    limits,
    publicUrl,
    clock,
    random,
    mailer,
    onMailError,
  }: LoginParts & {
    mailer: Mailer;
    onMailError: (error: unknown) => void;
  },
  { email, deviceName, dpopThumbprint, caller }: EmailLoginRequest,
): Promise<StartedLogin> {
  // The caller's own allowances first: who has used them up must not use up the mailbox's as well.
  await limits.consume("mailsBySource", caller.sourceAddress);
  await limits.consume("mailsBySourceAndMailbox", `${caller.sourceAddress} ${email}`);
  await limits.consume("mailsByMailbox", email);
  const now = clock();
  const [loginSecret, linkToken] = [randomSecret(random), randomSecret(random)];
  const login: Login = {
    loginId: randomId(random),
    email,
    secretHash: hashOf(loginSecret),
    confirmHash: hashOf(linkToken),
    userCode: newUserCode(random),
    ...(dpopThumbprint !== undefined && { dpopThumbprint }),
    deviceName,
    sourceAddress: caller.sourceAddress,
    userAgent: caller.userAgent,
    status: "pending",
    createdAt: now,
    expiresAt: now + LOGIN_LIFE_MS,
  };
  await transaction(async (tx) => {
    await tx.logins.insert(login);
    await tx.audit.append(auditEvent(now, caller, { action: "login.started", subject: email }));
  });
  try {
    await mailer.send(await signInMail(login, new Secret(`${publicUrl()}/login#${linkToken}`)));
  } catch (error) {
    onMailError(error);
    await logins.remove(login.loginId);
    throw new Failure(
      ErrorReason.MAIL_NOT_SENT,
      "the sign-in mail could not be sent: check the address, or try again shortly",
      { retryAfterMs: 10_000, cause: error },
    );
  }
  return {
    loginId: login.loginId,
    loginSecret: new Secret(loginSecret),
    userCode: login.userCode,
    expiresAt: login.expiresAt,
  };
}
