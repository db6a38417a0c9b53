import { createHash } from "node:crypto";

import type { OmniAccount } from "@agentkeys/lib/account";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { auditEvent, type Caller } from "../audit/index.ts";
import {
  admissionRefusal,
  type Identity,
  type IdentityName,
  nameIdentity,
  refuseLinkedWallet,
  seenAgain,
} from "../identity/index.ts";
import { gone, type Login, heldLogin, type LoginPurpose, next } from "../login/index.ts";
import { subjectOf, tellOthers } from "../notices/index.ts";
import { type NewPasskey, taken } from "../passkey/index.ts";
import type { WalletLink } from "../wallet/index.ts";
import { type AccountParts, type AccountStores, freshSession, PROOF_FOR_LINK_MS, type ProvenRequest } from "./parts.ts";

/** What merging would do; nothing has been done yet. */
export interface MergeOffer {
  /** Of everything below but the time: who agrees to it agrees to that. */
  offerId: string;
  kept: OmniAccount;
  keptWallets: WalletLink[];
  ended: OmniAccount;
  endedIdentities: Identity[];
  endedWallets: WalletLink[];
  expiresAt: number;
}

/**
 * Links the identity of a confirmed sign-in to the session's account, and spends the sign-in. An identity with an account of its own is
 * answered with an offer, and stays where it is; one that is linked already counts as used.
 * @throws Failure LOGIN_*, DPOP_INVALID, FRESH_SIGN_IN_REQUIRED, IDENTITY_SUSPENDED, SECOND_IDENTITY_REQUIRED, WALLET_NOT_OWN
 */
export async function linkIdentity(parts: AccountParts, request: ProvenRequest): Promise<Identity | MergeOffer> {
  const { session, caller } = request;
  const { anchor } = session;
  const login = await confirmedLogin(parts, request, "link");
  const name = nameOf(login, parts.clientId);
  return parts.transaction(async (tx) => {
    const now = parts.clock();
    const { identity: by = anchor } = await freshSession(tx, session, now, PROOF_FOR_LINK_MS);
    const known = await tx.identities.find(name.omniAccount);
    if (known !== undefined && known.anchor !== anchor) return offerFor(tx, parts, anchor, known, login);
    if (known !== undefined) refuseMade(login);
    if (known?.suspendedAt !== undefined) throw suspended();
    if (known === undefined) await refuseLinkedWallet(tx.wallets, name);
    if (!(await tx.logins.advance(login.loginId, "confirmed", "collected", now))) throw gone();
    const facts = { anchor, sessionId: session.id, subject: name.value };
    if (known !== undefined) {
      await tx.identities.touch(known.omniAccount, now, name.displayName);
      await tx.audit.append(auditEvent(now, caller, { action: "identity.proven", ...facts }));
      return seenAgain(known, name, now);
    }
    return addIdentity(tx, parts, { name, newPasskey: login.newPasskey, anchor, by, sessionId: session.id, caller });
  });
}

/**
 * The offer that `linkIdentity` would answer with, changing nothing: undefined where the identity has no other account.
 * @throws Failure as linkIdentity
 */
export async function reviewMerge(parts: AccountParts, request: ProvenRequest): Promise<MergeOffer | undefined> {
  const { session } = request;
  const login = await confirmedLogin(parts, request, "link");
  const { omniAccount } = nameOf(login, parts.clientId);
  return parts.transaction(async (tx) => {
    await freshSession(tx, session, parts.clock(), PROOF_FOR_LINK_MS);
    const known = await tx.identities.find(omniAccount);
    if (known === undefined || known.anchor === session.anchor) return undefined;
    return offerFor(tx, parts, session.anchor, known, login);
  });
}

/** Links an identity that is in no account, with its passkey where it is one, in its caller's transaction; and tells the others. */
export async function addIdentity(
  tx: AccountStores,
  parts: AccountParts,
  { name, newPasskey, anchor, by, sessionId, caller }: NewIdentity,
): Promise<Identity> {
  const now = parts.clock();
  const linked = await tx.identities.link(name, anchor, { linkedAt: now, lastUsedAt: now });
  if (newPasskey !== undefined) {
    await tx.passkeys.insert({ ...newPasskey, omniAccount: name.omniAccount, createdAt: now });
  }
  const facts = { anchor, sessionId, subject: name.value };
  await tx.audit.append(auditEvent(now, caller, { action: "identity.linked", ...facts }));
  const news = { kind: "linked", subject: subjectOf(name), by, reported: name.omniAccount } as const;
  await tellOthers(tx, parts, anchor, news, caller);
  return linked;
}

export interface NewIdentity {
  name: IdentityName;
  newPasskey: NewPasskey | undefined;
  anchor: OmniAccount;
  /** The identity that did it. */
  by: OmniAccount;
  sessionId: string;
  caller: Caller;
}

/** The sign-in that the caller holds, if its person has confirmed it. @throws Failure LOGIN_*, DPOP_INVALID */
export async function confirmedLogin(
  { logins, clock }: AccountParts,
  { login: held }: ProvenRequest,
  purpose: LoginPurpose,
): Promise<Login> {
  const login = await heldLogin(logins, held, purpose);
  const status = next(login, "collect", clock());
  if (status instanceof Failure) throw status;
  return login;
}

export function nameOf({ identity }: Login, clientId: string): IdentityName {
  if (identity === undefined) throw new Error("a confirmed sign-in names nobody");
  return nameIdentity(identity, clientId);
}

/**
 * What a merge with the account of `known` would do. The same rules hold as for signing in to it: an identity that may not do that
 * must not bring the account over either. @throws Failure IDENTITY_SUSPENDED, SECOND_IDENTITY_REQUIRED, LOGIN_EXPIRED
 */
export async function offerFor(
  { identities, wallets }: Pick<AccountStores, "identities" | "wallets">,
  { clock, dormantAfterMs }: AccountParts,
  kept: OmniAccount,
  known: Identity,
  login: Login,
): Promise<MergeOffer> {
  refuseMade(login);
  const now = clock();
  const endedIdentities = await identities.listOf(known.anchor);
  const refusal = admissionRefusal(known, endedIdentities, now, dormantAfterMs);
  if (refusal !== undefined) throw refusal;
  const expiresAt = (login.decidedAt ?? 0) + PROOF_FOR_LINK_MS;
  if (expiresAt <= now) {
    throw new Failure(
      ErrorReason.LOGIN_EXPIRED,
      "to merge two accounts both must have been proven within 10 minutes; start again",
    );
  }
  const keptWallets = await wallets.listOf(kept);
  const endedWallets = await wallets.listOf(known.anchor);
  const terms = [
    kept,
    keptWallets.filter(({ verifiedAt }) => verifiedAt !== undefined).map(({ address }) => address),
    known.anchor,
    endedIdentities.map(({ omniAccount }) => omniAccount),
    endedWallets.filter(({ verifiedAt }) => verifiedAt !== undefined).map(({ address }) => address),
  ];
  const offerId = createHash("sha256").update(JSON.stringify(terms)).digest("hex");
  return { offerId, kept, keptWallets, ended: known.anchor, endedIdentities, endedWallets, expiresAt };
}

/**
 * A passkey that a sign-in made has signed nothing: its id is what the browser said, and may be that of somebody else's passkey. It
 * proves no identity that is there already. @throws Failure SIGNATURE_INVALID
 */
function refuseMade({ newPasskey }: Login): void {
  if (newPasskey !== undefined) throw taken();
}

export function suspended(): Failure {
  return new Failure(
    ErrorReason.IDENTITY_SUSPENDED,
    "this identity was reported by the owner of another identity of the account: take it off the account before it is linked again",
  );
}
