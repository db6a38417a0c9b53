import { computeOmniAccount } from "@agentkeys/lib/account";
import { SECOND } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { equalSecrets } from "@agentkeys/lib/secret";

import { auditEvent, type Caller } from "../audit/index.ts";
import type { Identity } from "../identity/index.ts";
import type { IssuedSession } from "../token/index.ts";
import type { LoginParts } from "./parts.ts";
import { hashOf } from "./secrets.ts";
import { next, pending } from "./state-machine.ts";
import type { Login } from "./store.ts";

/** Another replica may have taken the confirmation: how often the store is asked, whatever the bell says. */
const POLL_MS = SECOND;

export interface Collection {
  loginId: string;
  loginSecret: string;
  /** Of the key that proved itself on this call. */
  dpopThumbprint: string | undefined;
  caller: Caller;
  /** How long to wait for a confirmation. */
  patienceMs: number;
  /** Ends the wait early. */
  signal: AbortSignal;
}

/**
 * Waits until the person has decided, and hands out the session to the one program that started the sign-in, once.
 * @throws Failure LOGIN_NOT_FOUND, LOGIN_EXPIRED, LOGIN_REFUSED, LOGIN_PENDING, DPOP_INVALID
 */
export async function awaitLogin(
  parts: LoginParts,
  collection: Collection,
): Promise<IssuedSession & { identity: Identity }> {
  const { clock, bell } = parts;
  const { signal } = collection;
  for (let patience = collection.patienceMs; ; patience -= POLL_MS) {
    const login = await authenticLogin(parts, collection);
    const status = next(login, "collect", clock());
    if (!(status instanceof Failure)) {
      // Nobody would get what is handed out once only.
      if (signal.aborted) throw pending();
      return collect(parts, login, collection.caller);
    }
    if (status.reason !== ErrorReason.LOGIN_PENDING || patience <= 0) throw status;
    if (!(await bell.wait(login.loginId, Math.min(POLL_MS, patience), signal))) throw status;
  }
}

/** The sign-in, if the caller is who started it. A wrong secret and an unknown id look the same. */
async function authenticLogin({ logins }: LoginParts, collection: Collection): Promise<Login> {
  const login = await logins.find(collection.loginId);
  const given = Buffer.from(hashOf(collection.loginSecret));
  if (login === undefined || !equalSecrets(given, Buffer.from(login.secretHash))) {
    throw new Failure(ErrorReason.LOGIN_NOT_FOUND, "no such sign-in, or its session was collected already");
  }
  if (login.dpopThumbprint !== collection.dpopThumbprint) {
    throw new Failure(
      ErrorReason.DPOP_INVALID,
      login.dpopThumbprint === undefined
        ? "the sign-in was started without a DPoP proof, so its session cannot be bound to a key now"
        : "the sign-in was started with a DPoP key: collect it with a proof by the same key",
    );
  }
  return login;
}

async function collect(
  { transaction, sessionIssuer, clientId, clock }: LoginParts,
  login: Login,
  caller: Caller,
): Promise<IssuedSession & { identity: Identity }> {
  const issued = await transaction(async (tx) => {
    const now = clock();
    if (!(await tx.logins.advance(login.loginId, "confirmed", "collected", now))) return undefined;
    const value = login.email;
    const omniAccount = computeOmniAccount({ clientId, identityType: "email", identityValue: value });
    const identity = await tx.identities.signIn({ omniAccount, type: "email", value }, now);
    const session = await sessionIssuer.issueIdentitySession(tx.sessions, {
      anchor: identity.anchor,
      identity: identity.omniAccount,
      deviceName: login.deviceName,
      sourceAddress: login.sourceAddress,
      ...(login.dpopThumbprint !== undefined && { dpopThumbprint: login.dpopThumbprint }),
    });
    const facts = { anchor: identity.anchor, sessionId: session.record.sessionId, subject: value };
    await tx.audit.append(auditEvent(now, caller, { action: "login.collected", ...facts }));
    return { ...session, identity };
  });
  if (issued === undefined) {
    throw new Failure(ErrorReason.LOGIN_NOT_FOUND, "no such sign-in, or its session was collected already");
  }
  return issued;
}
