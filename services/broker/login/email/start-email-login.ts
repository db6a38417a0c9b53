import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { Secret } from "@agentkeys/lib/secret";

import { auditEvent } from "../../audit/index.ts";
import type { Email } from "../../identity/index.ts";
import { type Mailer, signInMail } from "../../mail/index.ts";
import { isForBrowser } from "../browser-login.ts";
import { type LoginRequest, newLogin, type StartedLogin, startedLogin } from "../new-login.ts";
import type { LoginParts } from "../parts.ts";

export interface EmailLoginRequest extends LoginRequest {
  email: Email;
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
  request: EmailLoginRequest,
): Promise<StartedLogin> {
  const { email, caller } = request;
  // The caller's own allowances first: who has used them up must not use up the mailbox's as well.
  await limits.consume("mailsBySource", caller.sourceAddress);
  await limits.consume("mailsBySourceAndMailbox", `${caller.sourceAddress} ${email}`);
  await limits.consume("mailsByMailbox", email);
  const now = clock();
  const { login, loginSecret, linkToken } = newLogin(
    { method: "email", identity: { type: "email", value: email } },
    request,
    { now, random },
  );
  await transaction(async (tx) => {
    await tx.logins.insert(login);
    await tx.audit.append(auditEvent(now, caller, { action: "login.started", subject: email }));
  });
  try {
    const screen = isForBrowser(login) ? "other page" : "terminal";
    await mailer.send(await signInMail({ ...login, email, screen }, new Secret(`${publicUrl()}/login#${linkToken}`)));
  } catch (error) {
    onMailError(error);
    await logins.remove(login.loginId);
    throw new Failure(
      ErrorReason.MAIL_NOT_SENT,
      "the sign-in mail could not be sent: check the address, or try again shortly",
      { retryAfterMs: 10_000, cause: error },
    );
  }
  return startedLogin(login, loginSecret);
}
