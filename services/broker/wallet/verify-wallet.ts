import { computeOmniAccount, type OmniAccount } from "@agentkeys/lib/account";
import type { Clock } from "@agentkeys/lib/clock";
import { type EvmAddress, recoverEip191 } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { auditEvent, type AuditStore, type Caller } from "../audit/index.ts";
import type { AccountStore, IdentityStore } from "../identity/index.ts";
import type { Limits } from "../limits/index.ts";
import { type Bell, confirmByWallet, type Login, type LoginStore } from "../login/index.ts";
import type { IssuedSession, SessionIssuer, SessionRecord, SessionStore } from "../token/index.ts";
import type { ContractWallets } from "./contract-wallets.ts";
import type { Challenge, ChallengeStore, WalletStore } from "./store.ts";

interface Stores {
  challenges: ChallengeStore;
  logins: LoginStore;
  wallets: WalletStore;
  sessions: SessionStore;
  identities: IdentityStore;
  accounts: AccountStore;
  audit: AuditStore;
}

export interface VerifyParts {
  transaction: <T>(work: (tx: Stores) => Promise<T>) => Promise<T>;
  challenges: ChallengeStore;
  audit: AuditStore;
  limits: Limits;
  sessionIssuer: SessionIssuer;
  bell: Bell;
  /** Absent: only wallets with a key of their own sign. */
  contractWallets?: ContractWallets;
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

/** `0x` and r, s, v in hex. */
const KEY_SIGNATURE_LENGTH = 132;

/** What a wallet's signature was good for: a session of the wallet's, or the sign-in of its person. */
export type WalletOutcome = { session: IssuedSession } | { login: Login };

/**
 * Checks the wallet's signature over the stored message, spends the challenge, and does what that was made for: proves the claim and
 * makes a wallet session, or confirms the sign-in. One transaction, after the signature was checked.
 * @throws LinkUsed, Failure CHALLENGE_NOT_FOUND, CHALLENGE_EXPIRED, CHALLENGE_SPENT, SIGNATURE_INVALID, CHAIN_UNAVAILABLE, DPOP_INVALID,
 * SESSION_REVOKED, WALLET_TAKEN, WALLET_NOT_LINKED, WALLET_NOT_OWN, LOGIN_*, RATE_LIMITED
 */
export async function verifyWallet(parts: VerifyParts, answer: WalletAnswer): Promise<WalletOutcome> {
  const { limits, challenges, audit, clock } = parts;
  const { sourceAddress } = answer.caller;
  const refused = async (challenge: Challenge | undefined, why: Failure): Promise<Failure> => {
    await limits.consume("wrongSignatures", sourceAddress);
    return refuse(audit, clock(), challenge, answer, why);
  };
  await limits.check("wrongSignatures", sourceAddress);
  const challenge = await challenges.find(answer.requestId);
  if (challenge === undefined) throw await refused(undefined, notFound());
  const why = refusalOf(challenge, answer, clock()) ?? (await signatureRefusal(parts, challenge, answer));
  if (why !== undefined) throw await refused(challenge, why);
  const { loginId } = challenge;
  return loginId === undefined
    ? { session: await redeem(parts, challenge, answer) }
    : { login: await confirm(parts, { ...challenge, loginId }, answer) };
}

/** Why an answer is none, before anything is written: the challenge is over, or the key is another. */
function refusalOf(challenge: Challenge, answer: WalletAnswer, now: number): Failure | undefined {
  if (challenge.spentAt !== undefined) return spent();
  if (challenge.expiresAt <= now) {
    return new Failure(ErrorReason.CHALLENGE_EXPIRED, "the challenge has expired; start a new one");
  }
  // A challenge started by a key-bound session can only be answered with that key: the signature alone is worth nothing.
  const bound = challenge.startedBy?.dpopThumbprint;
  if (bound !== undefined && bound !== answer.dpopThumbprint) {
    return new Failure(
      ErrorReason.DPOP_INVALID,
      "the challenge was started under a session that is bound to a DPoP key: send a proof by that key with the answer",
    );
  }
  return undefined;
}

/** Why the signature is none: neither of a key whose address it is, nor, where a node can be asked, of the contract there. */
async function signatureRefusal(
  { contractWallets, limits }: VerifyParts,
  challenge: Challenge,
  { signature, caller }: WalletAnswer,
): Promise<Failure | undefined> {
  const refusal = keyRefusal(challenge, signature);
  if (refusal === undefined) return undefined;
  if (contractWallets === undefined) return signature.length === KEY_SIGNATURE_LENGTH ? refusal : keysOnly();
  await limits.consume("contractChecks", caller.sourceAddress);
  return (await contractWallets.accepts({ ...challenge, signature })) ? undefined : refusal;
}

function keyRefusal({ address, message }: Challenge, signature: string): Failure | undefined {
  try {
    if (recoverEip191(Buffer.from(message, "utf8"), signature) === address) return undefined;
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  return new Failure(
    ErrorReason.SIGNATURE_INVALID,
    "signature was not made by the challenged address over the exact message",
  );
}

/** The signature is right, and stands for the person's Yes. Where the sign-in is over meanwhile, nothing is spent. */
async function confirm(
  { transaction, bell, clientId, clock }: VerifyParts,
  { requestId, loginId, address }: Challenge & { loginId: string },
  { caller }: WalletAnswer,
): Promise<Login> {
  const login = await transaction(async (tx) => {
    const now = clock();
    if ((await tx.challenges.spend(requestId, now)) === undefined) throw spent();
    return confirmByWallet(tx, { loginId, address, clientId, now, caller });
  });
  bell.ring(loginId);
  return login;
}

/** The signature is right. What is refused from here on leaves the challenge spent, and says so in the history. */
async function redeem(parts: VerifyParts, seen: Challenge, answer: WalletAnswer): Promise<IssuedSession> {
  const outcome = await parts.transaction(async (tx): Promise<IssuedSession | Failure> => {
    const now = parts.clock();
    const challenge = await tx.challenges.spend(seen.requestId, now);
    if (challenge === undefined) return refuse(tx.audit, now, seen, answer, spent());
    const owner = await ownerOf(tx, parts, challenge, now);
    if (owner instanceof Failure) return refuse(tx.audit, now, challenge, answer, owner);
    if ((await tx.accounts.find(owner.anchor))?.frozenAt !== undefined) {
      return refuse(tx.audit, now, challenge, answer, frozen());
    }
    const { address } = challenge;
    const session = await parts.sessionIssuer.issueWalletSession(tx.sessions, {
      ...owner,
      subject: nameOf(address, parts),
      wallet: address,
      sourceAddress: answer.caller.sourceAddress,
      ...(answer.dpopThumbprint !== undefined && { dpopThumbprint: answer.dpopThumbprint }),
    });
    const facts = { anchor: owner.anchor, sessionId: session.record.sessionId, subject: address };
    await tx.audit.append(auditEvent(now, answer.caller, { action: "wallet.verified", ...facts }));
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
async function ownerOf(
  tx: Stores,
  parts: Pick<VerifyParts, "clientId">,
  { address, startedBy }: Challenge,
  now: number,
): Promise<Owner | Failure> {
  const link = await tx.wallets.verifiedLink(address);
  if (link?.retiredAt !== undefined && (startedBy === undefined || startedBy.anchor === link.anchor)) return retired();
  if (startedBy === undefined) return link === undefined ? notLinked() : { anchor: link.anchor };
  const parent = await tx.sessions.find(startedBy.sessionId);
  if (parent === undefined || parent.revokedAt !== undefined || parent.expiresAt <= now) {
    return new Failure(ErrorReason.SESSION_REVOKED, "the session that started the challenge has ended; sign in again");
  }
  if (link === undefined && (await isIdentity(tx, nameOf(address, parts)))) return taken();
  switch (await tx.wallets.verify(startedBy.anchor, address, now)) {
    case "verified":
      return { anchor: startedBy.anchor, parent };
    case "no-claim":
      return notLinked();
    case "taken":
      return taken();
  }
}

/** Whether somebody signs in with this wallet, or started an account with it: then it is nobody's to link. */
async function isIdentity({ identities, accounts }: Stores, name: OmniAccount): Promise<boolean> {
  return ((await identities.find(name)) ?? (await accounts.find(name))) !== undefined;
}

function nameOf(address: EvmAddress, { clientId }: Pick<VerifyParts, "clientId">): OmniAccount {
  return computeOmniAccount({ clientId, identityType: "evm", identityValue: address });
}

/** Notes in the history that an answer was refused, and gives back why. */
async function refuse(
  audit: AuditStore,
  now: number,
  challenge: Challenge | undefined,
  { requestId, caller }: WalletAnswer,
  why: Failure,
): Promise<Failure> {
  const { anchor, sessionId = "" } = challenge?.startedBy ?? {};
  // In nobody's history: the log has the call.
  if (anchor === undefined) return why;
  const facts = { outcome: ErrorReason[why.reason], anchor, sessionId, subject: challenge?.address ?? requestId };
  await audit.append(auditEvent(now, caller, { action: "wallet.verified", ...facts }));
  return why;
}

function keysOnly(): Failure {
  return new Failure(
    ErrorReason.SIGNATURE_INVALID,
    "signature must be 0x and 130 hex characters: this broker serves no contract wallets",
  );
}

function notFound(): Failure {
  return new Failure(ErrorReason.CHALLENGE_NOT_FOUND, "no challenge has this request_id; start a new one");
}

function spent(): Failure {
  return new Failure(ErrorReason.CHALLENGE_SPENT, "the challenge was answered already; start a new one");
}

function frozen(): Failure {
  return new Failure(
    ErrorReason.ACCOUNT_FROZEN,
    'the account is frozen, since somebody reported "this was not me": its owner has to sign in and look at it',
  );
}

function taken(): Failure {
  return new Failure(
    ErrorReason.WALLET_TAKEN,
    "the address is linked to another account, or is an identity that somebody signs in with",
  );
}

function retired(): Failure {
  return new Failure(
    ErrorReason.WALLET_NOT_LINKED,
    "the wallet was retired by its account's owner: to use it again, sign in anew and claim it with LinkWallet within 5 minutes",
  );
}

function notLinked(): Failure {
  return new Failure(
    ErrorReason.WALLET_NOT_LINKED,
    "the address is linked to no account: sign in, claim it with LinkWallet, and start the challenge under that session",
  );
}
