import { SignJWT } from "jose";

import type { OmniAccount } from "@agentkeys/lib/account";
import { type Clock, DAY, HOUR, MINUTE } from "@agentkeys/lib/clock";
import type { EvmAddress } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { type RandomBytes, randomId } from "@agentkeys/lib/random";
import { Secret } from "@agentkeys/lib/secret";
import { type Session, SESSION_AUDIENCE, SESSION_TYP } from "@agentkeys/lib/session";

import { isUntouched, mayAskAgain } from "./renewal-grace.ts";
import { ALGORITHM, type SigningKeys } from "./signing-keys.ts";
import type { SessionRecord, SessionStore } from "./store.ts";

/** How long sessions live, in milliseconds. */
export interface SessionLives {
  /** A DPoP-bound identity session, until it is renewed. */
  identity: number;
  /** A DPoP-bound wallet session. */
  wallet: number;
  /** A session that is a plain bearer token, of either kind: it cannot be renewed. */
  bearer: number;
  /** From the sign-in to the last renewal. */
  renewable: number;
}

export const sessionLives: SessionLives = {
  identity: 12 * HOUR,
  wallet: HOUR,
  bearer: 15 * MINUTE,
  renewable: 30 * DAY,
};

/** Who signed in, from where, and with which key. */
export interface SignIn {
  anchor: OmniAccount;
  identity: OmniAccount;
  deviceName: string;
  sourceAddress: string;
  dpopThumbprint?: string;
  /** The account is frozen: the session may look at it and put it right. */
  restricted: boolean;
}

/** Which wallet proved itself, for which account. */
export interface WalletProof {
  anchor: OmniAccount;
  /** The wallet's own omni_account. */
  subject: OmniAccount;
  wallet: EvmAddress;
  sourceAddress: string;
  dpopThumbprint?: string;
  parent?: SessionRecord;
}

/** A new session and its token. */
export interface IssuedSession {
  token: Secret;
  record: SessionRecord;
}

/** Makes session tokens (RFC 9068 shaped JWTs) and the records that they can be revoked by. */
export interface SessionIssuer {
  issueIdentitySession(sessions: SessionStore, signIn: SignIn): Promise<IssuedSession>;
  issueWalletSession(sessions: SessionStore, proof: WalletProof): Promise<IssuedSession>;
  /** Gives the same successor again to one that asks again: see `mayAskAgain`. @throws Failure DPOP_REQUIRED, RENEWAL_ENDED, SESSION_REVOKED */
  renew(sessions: SessionStore, session: Session): Promise<IssuedSession & { renewableUntil: number }>;
  /** Until when a session that signed in at `signedInAt` may be renewed. */
  renewableUntil(signedInAt: number): number;
}

export interface SessionIssuerOptions {
  issuer: () => string;
  keys: SigningKeys;
  clock: Clock;
  random: RandomBytes;
  lives?: SessionLives;
}

export function createSessionIssuer(options: SessionIssuerOptions): SessionIssuer {
  const { clock, random, lives = sessionLives } = options;

  const draft = (life: number, bound: string | undefined, now: number) => ({
    sessionId: randomId(random),
    createdAt: now,
    expiresAt: wholeSeconds(now + (bound === undefined ? Math.min(life, lives.bearer) : life)),
    ...(bound !== undefined && { dpopThumbprint: bound }),
  });
  const issued = async (record: SessionRecord): Promise<IssuedSession> => ({
    record,
    token: await signToken(record, options),
  });

  return {
    issueIdentitySession: async (
      sessions,
      { dpopThumbprint, anchor, identity, deviceName, sourceAddress, restricted },
    ) => {
      const now = clock();
      const record: SessionRecord = {
        ...draft(lives.identity, dpopThumbprint, now),
        kind: "identity",
        subject: anchor,
        anchor,
        identity,
        deviceName,
        sourceAddress,
        signedInAt: now,
        provenAt: now,
        restricted,
        lastAudience: "",
      };
      await sessions.insert(record);
      return issued(record);
    },

    issueWalletSession: async (sessions, { dpopThumbprint, anchor, subject, wallet, sourceAddress, parent }) => {
      const now = clock();
      const record: SessionRecord = {
        ...draft(lives.wallet, dpopThumbprint, now),
        kind: "wallet",
        subject,
        anchor,
        wallet,
        sourceAddress,
        deviceName: parent?.deviceName ?? "",
        signedInAt: parent?.signedInAt ?? now,
        provenAt: parent?.provenAt ?? now,
        restricted: false,
        lastAudience: "",
        ...(parent !== undefined && { parentId: parent.sessionId }),
      };
      await sessions.insert(record);
      return issued(record);
    },

    renew: async (sessions, session) => {
      const now = clock();
      const old = await sessions.find(session.id);
      if (old === undefined) throw revoked();
      if (session.dpopThumbprint === undefined) {
        throw new Failure(
          ErrorReason.DPOP_REQUIRED,
          "only a session bound to a DPoP key can be renewed; sign in again",
        );
      }
      const renewableUntil = old.signedInAt + lives.renewable;
      if (mayAskAgain(old, now)) {
        const successor = await sessions.find(old.replacedBy ?? "");
        if (successor === undefined || !isUntouched(successor, now)) throw revoked();
        return { ...(await issued(successor)), renewableUntil };
      }
      if (now >= renewableUntil) {
        throw new Failure(ErrorReason.RENEWAL_ENDED, "this sign-in is too long ago to be renewed; sign in again");
      }
      const times = draft(lives.identity, session.dpopThumbprint, now);
      const record: SessionRecord = {
        ...old,
        ...times,
        expiresAt: Math.min(times.expiresAt, wholeSeconds(renewableUntil)),
      };
      delete record.lastUsedAt;
      if (!(await sessions.replace(old.sessionId, record, now))) throw revoked();
      return { ...(await issued(record)), renewableUntil };
    },

    renewableUntil: (signedInAt) => signedInAt + lives.renewable,
  };
}

async function signToken(record: SessionRecord, { issuer, keys }: SessionIssuerOptions): Promise<Secret> {
  const { kid, privateKey } = keys.current();
  const jwt = new SignJWT({
    kind: record.kind,
    anchor: record.anchor,
    ...(record.identity !== undefined && { identity: record.identity }),
    ...(record.wallet !== undefined && { wallet: record.wallet }),
    ...(record.restricted && { restricted: true }),
    ...(record.dpopThumbprint !== undefined && { cnf: { jkt: record.dpopThumbprint } }),
  })
    .setProtectedHeader({ alg: ALGORITHM, typ: SESSION_TYP, kid })
    .setIssuer(issuer())
    .setAudience(SESSION_AUDIENCE)
    .setSubject(record.subject)
    .setJti(record.sessionId)
    .setIssuedAt(Math.floor(record.createdAt / 1000))
    .setExpirationTime(Math.floor(record.expiresAt / 1000));
  return new Secret(await jwt.sign(privateKey));
}

/** A token's times are whole seconds; the record says the same as the token. */
function wholeSeconds(time: number): number {
  return Math.floor(time / 1000) * 1000;
}

function revoked(): Failure {
  return new Failure(ErrorReason.SESSION_REVOKED, "the session was revoked or renewed already; sign in again");
}
