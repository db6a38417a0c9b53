import { SECOND } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { auditEvent, type Caller } from "../audit/index.ts";
import { type Account, admit, type Identity, nameIdentity } from "../identity/index.ts";
import { tellOthers } from "../notices/index.ts";
import type { IssuedSession, SessionRecord, SessionStore } from "../token/index.ts";
import { type HeldLogin, heldLogin } from "./held-login.ts";
import type { LoginParts } from "./parts.ts";
import { gone, next, pending } from "./state-machine.ts";
import type { Login } from "./store.ts";

/** Another replica may have taken the confirmation: how often the store is asked, whatever the bell says. */
const POLL_MS = SECOND;

export interface Collection extends HeldLogin {
  caller: Caller;
  /** How long to wait for a confirmation. */
  patienceMs: number;
  /** Ends the wait early. */
  signal: AbortSignal;
}

/**
 * Waits until the person has decided, and hands out the session to the one program that started the sign-in, once.
 * @throws Failure LOGIN_NOT_FOUND, LOGIN_EXPIRED, LOGIN_REFUSED, LOGIN_PENDING, LOGIN_PURPOSE, DPOP_INVALID, IDENTITY_SUSPENDED, IDENTITY_UNLINKED,
 * SECOND_IDENTITY_REQUIRED, WALLET_NOT_OWN
 */
export async function awaitLogin(
  parts: LoginParts,
  collection: Collection,
): Promise<IssuedSession & { identity: Identity }> {
  const { clock, bell, logins } = parts;
  const { signal } = collection;
  for (let patience = collection.patienceMs; ; patience -= POLL_MS) {
    const login = await heldLogin(logins, collection, "sign-in");
    const status = next(login, "collect", clock());
    if (!(status instanceof Failure)) {
      // Nobody would get what is handed out once only.
      if (signal.aborted) throw pending();
      return collectLogin(parts, login, collection.caller, (sessions, { identity, account }) =>
        parts.sessionIssuer.issueIdentitySession(sessions, {
          anchor: identity.anchor,
          identity: identity.omniAccount,
          deviceName: login.deviceName,
          sourceAddress: login.sourceAddress,
          restricted: account.frozenAt !== undefined,
          ...(login.dpopThumbprint !== undefined && { dpopThumbprint: login.dpopThumbprint }),
        }),
      );
    }
    if (status.reason !== ErrorReason.LOGIN_PENDING || patience <= 0) throw status;
    if (!(await bell.wait(login.loginId, Math.min(POLL_MS, patience), signal))) throw status;
  }
}

/**
 * Spends a confirmed sign-in, admits its person, and makes their session, in one transaction.
 * @throws Failure LOGIN_NOT_FOUND, IDENTITY_SUSPENDED, IDENTITY_UNLINKED, SECOND_IDENTITY_REQUIRED
 */
export async function collectLogin<T extends { record: SessionRecord }>(
  parts: LoginParts,
  login: Login,
  caller: Caller,
  makeSession: (sessions: SessionStore, admitted: { identity: Identity; account: Account }) => Promise<T>,
): Promise<T & { identity: Identity }> {
  const { transaction, clientId, clock } = parts;
  if (login.identity === undefined) throw new Error("a confirmed sign-in names nobody");
  const name = nameIdentity(login.identity, clientId);
  const issued = await transaction(async (tx) => {
    const now = clock();
    if (!(await tx.logins.advance(login.loginId, "confirmed", "collected", now))) return undefined;
    const { identity, account } = await admit(tx, name, parts, now);
    const session = await makeSession(tx.sessions, { identity, account });
    const facts = { anchor: identity.anchor, sessionId: session.record.sessionId, subject: name.value };
    await tx.audit.append(auditEvent(now, caller, { action: "login.collected", ...facts }));
    const machine = {
      kind: "machine",
      subject: login.deviceName,
      by: identity.omniAccount,
      reported: identity.omniAccount,
    } as const;
    await tellOthers(tx, parts, identity.anchor, machine, caller);
    return { ...session, identity };
  });
  if (issued === undefined) throw gone();
  return issued;
}
