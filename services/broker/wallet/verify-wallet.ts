import { computeOmniAccount, type OmniAccount } from "@agentkeys/lib/account";
import type { Clock } from "@agentkeys/lib/clock";
import { recoverEip191 } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { auditEvent, type AuditStore, type Caller } from "../audit/index.ts";
import type { Limits } from "../limits/index.ts";
import type { IssuedSession, SessionIssuer, SessionRecord, SessionStore } from "../token/index.ts";
import type { Challenge, ChallengeStore, WalletStore } from "./store.ts";

interface Stores {
  challenges: ChallengeStore;
  wallets: WalletStore;
  sessions: SessionStore;
  audit: AuditStore;
}

export interface VerifyParts {
  transaction: <T>(work: (tx: Stores) => Promise<T>) => Promise<T>;
  challenges: ChallengeStore;
  audit: AuditStore;
  limits: Limits;
  sessionIssuer: SessionIssuer;
  clientId: string;
  clock: Clock;
}

/** A client's answer to a challenge: nothing of the message comes from the client. */
export interface WalletAnswer {
  requestId: string;
  signature: string;
  /** Of the key that proved itself on this call. */
  dpopThumbprint: string | undefined;
  caller: Caller;
}

/**
 * Checks the wallet's signature over the stored message, spends the challenge, proves the claim it was started for, and makes a
 * wallet session: one transaction.
 * @throws Failure CHALLENGE_NOT_FOUND, CHALLENGE_EXPIRED, CHALLENGE_SPENT, SIGNATURE_INVALID, DPOP_INVALID, SESSION_REVOKED,
 * WALLET_TAKEN, WALLET_NOT_LINKED, RATE_LIMITED
 */
export async function verifyWallet(parts: VerifyParts, answer: WalletAnswer): Promise<IssuedSession> {
  const { limits, challenges, clock } = parts;
  const { sourceAddress } = answer.caller;
  await limits.check("wrongSignatures", sourceAddress);
  const challenge = await challenges.find(answer.requestId);
  if (challenge === undefined) {
    await limits.consume("wrongSignatures", sourceAddress);
    throw new Failure(ErrorReason.CHALLENGE_NOT_FOUND, "no challenge has this request_id; start a new one");
  }
  if (challenge.spentAt !== undefined) throw spent();
  if (challenge.expiresAt <= clock()) {
    throw new Failure(ErrorReason.CHALLENGE_EXPIRED, "the challenge has expired; start a new one");
  }
  try {
    checkKey(challenge, answer.dpopThumbprint);
    checkSignature(challenge, answer.signature);
  } catch (error) {
    await limits.consume("wrongSignatures", sourceAddress);
    if (error instanceof Failure)
      await record(parts.audit, parts.clock(), challenge, answer, ErrorReason[error.reason]);
    throw error;
  }
  return redeem(parts, challenge, answer);
}

/** A challenge started by a key-bound session can only be answered with that key: the signature alone is worth nothing. */
function checkKey({ startedBy }: Challenge, thumbprint: string | undefined): void {
  const bound = startedBy?.dpopThumbprint;
  if (bound !== undefined && bound !== thumbprint) {
    throw new Failure(
      ErrorReason.DPOP_INVALID,
      "the challenge was started under a session that is bound to a DPoP key: send a proof by that key with the answer",
    );
  }
}

function checkSignature({ address, message }: Challenge, signature: string): void {
  if (recoverEip191(Buffer.from(message, "utf8"), signature) !== address) {
    throw new Failure(
      ErrorReason.SIGNATURE_INVALID,
      "signature was not made by the challenged address over the exact message",
    );
  }
}

/** The signature is right. What is refused from here on leaves the challenge spent, and says so in the history. */
async function redeem(parts: VerifyParts, challenge: Challenge, answer: WalletAnswer): Promise<IssuedSession> {
  const { address, requestId } = challenge;
  const outcome = await parts.transaction(async (tx): Promise<IssuedSession | Failure> => {
    const now = parts.clock();
    if (!(await tx.challenges.spend(requestId, now))) return spent();
    const owner = await ownerOf(tx, challenge, now);
    if (owner instanceof Failure) {
      await record(tx.audit, now, challenge, answer, ErrorReason[owner.reason]);
      return owner;
    }
    const subject = computeOmniAccount({ clientId: parts.clientId, identityType: "evm", identityValue: address });
    const session = await parts.sessionIssuer.issueWalletSession(tx.sessions, {
      ...owner,
      subject,
      wallet: address,
      sourceAddress: answer.caller.sourceAddress,
      ...(answer.dpopThumbprint !== undefined && { dpopThumbprint: answer.dpopThumbprint }),
    });
    await record(tx.audit, now, { ...challenge, ownerAnchor: owner.anchor }, answer, "ok", session.record.sessionId);
    return session;
  });
  if (outcome instanceof Failure) throw outcome;
  return outcome;
}

interface Owner {
  anchor: OmniAccount;
  parent?: SessionRecord;
}

/** Whose wallet it is: of the session that started the challenge, if it claimed it; else of the account that has proven it before. */
async function ownerOf(tx: Stores, { address, startedBy }: Challenge, now: number): Promise<Owner | Failure> {
  if (startedBy === undefined) {
    const anchor = await tx.wallets.verifiedOwner(address);
    return anchor === undefined ? notLinked() : { anchor };
  }
  const parent = await tx.sessions.find(startedBy.sessionId);
  if (parent === undefined || parent.revokedAt !== undefined || parent.expiresAt <= now) {
    return new Failure(ErrorReason.SESSION_REVOKED, "the session that started the challenge has ended; sign in again");
  }
  switch (await tx.wallets.verify(startedBy.anchor, address, now)) {
    case "verified":
      return { anchor: startedBy.anchor, parent };
    case "no-claim":
      return notLinked();
    case "taken":
      return new Failure(ErrorReason.WALLET_TAKEN, "the address is linked to another account");
  }
}

async function record(
  audit: AuditStore,
  now: number,
  { address, startedBy, ownerAnchor }: Challenge & { ownerAnchor?: OmniAccount },
  { caller }: WalletAnswer,
  outcome: string,
  sessionId = startedBy?.sessionId ?? "",
): Promise<void> {
  const anchor = ownerAnchor ?? startedBy?.anchor;
  const facts = { outcome, anchor, sessionId, subject: address };
  await audit.append(auditEvent(now, caller, { action: "wallet.verified", ...facts }));
}

function spent(): Failure {
  return new Failure(ErrorReason.CHALLENGE_SPENT, "the challenge was answered already; start a new one");
}

function notLinked(): Failure {
  return new Failure(
    ErrorReason.WALLET_NOT_LINKED,
    "the address is linked to no account: sign in, claim it with LinkWallet, and start the challenge under that session",
  );
}
