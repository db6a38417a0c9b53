import { computeOmniAccount } from "@agentkeys/lib/account";
import { DAY } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { refuseLinkedWallet, type VerifiedWallets } from "./own-wallet.ts";
import type { Account, AccountStore, Identity, IdentityName, IdentityStore } from "./store.ts";

/** How long a mailbox may go unused before it needs another identity beside it, in milliseconds; by default. */
export const DORMANT_AFTER_MS = 180 * DAY;

export interface IdentityRules {
  clientId: string;
  /** How long a mailbox may go unused, in milliseconds. */
  dormantAfterMs: number;
}

/** Names an identity that somebody has proven. */
export function nameIdentity(identity: Omit<IdentityName, "omniAccount">, clientId: string): IdentityName {
  const { type, value } = identity;
  return { ...identity, omniAccount: computeOmniAccount({ clientId, identityType: type, identityValue: value }) };
}

/**
 * Why an identity may not sign in to its account, as a pure rule: somebody reported it, or it is a mailbox that has not been used
 * for so long that it may be another person's by now, while the account's owner goes on with another identity.
 */
export function admissionRefusal(
  identity: Identity,
  all: readonly Identity[],
  now: number,
  dormantAfterMs: number,
): Failure | undefined {
  if (identity.suspendedAt !== undefined) {
    return new Failure(
      ErrorReason.IDENTITY_SUSPENDED,
      "this identity was reported by the owner of another identity of the account; sign in with that one",
    );
  }
  if (isDormant(identity, all, now, dormantAfterMs)) {
    return new Failure(
      ErrorReason.SECOND_IDENTITY_REQUIRED,
      "this mailbox was not used for long, and it may be another person's by now: sign in with another identity of the account, then link this one again",
    );
  }
  return undefined;
}

/** Whether a mailbox was left unused while another identity of the same account was not. */
export function isDormant(identity: Identity, all: readonly Identity[], now: number, dormantAfterMs: number): boolean {
  const unused = ({ lastUsedAt }: Identity): boolean => lastUsedAt + dormantAfterMs <= now;
  const others = all.filter(({ omniAccount }) => omniAccount !== identity.omniAccount);
  const another = others.some((other) => other.suspendedAt === undefined && !unused(other));
  return identity.type === "email" && unused(identity) && another;
}

/**
 * Signs a proven identity in, in its caller's transaction: to the account that it is linked to, or to a new one that it anchors.
 * @throws Failure IDENTITY_SUSPENDED, SECOND_IDENTITY_REQUIRED, IDENTITY_UNLINKED, WALLET_NOT_OWN, PASSKEY_UNKNOWN
 */
export async function admit(
  { identities, accounts, wallets }: { identities: IdentityStore; accounts: AccountStore; wallets: VerifiedWallets },
  name: IdentityName,
  { dormantAfterMs }: IdentityRules,
  now: number,
): Promise<{ identity: Identity; account: Account }> {
  const known = await identities.find(name.omniAccount);
  if (known === undefined) {
    // Taken off its account since it signed: a passkey starts none.
    if (name.type === "passkey") {
      throw new Failure(
        ErrorReason.PASSKEY_UNKNOWN,
        "this passkey is linked to no account: sign in another way, and link it from there",
      );
    }
    // The name of an account is made from its first identity: without this, taking that identity off would give a stranger the wallet.
    if ((await accounts.find(name.omniAccount)) !== undefined) {
      throw new Failure(
        ErrorReason.IDENTITY_UNLINKED,
        "this identity was taken off the account that it had started: sign in with another one and link it again",
      );
    }
    // It may have become somebody's wallet since it was proven.
    await refuseLinkedWallet(wallets, name);
    await accounts.insert(name.omniAccount, now);
    const identity = await identities.link(name, name.omniAccount, { linkedAt: now, lastUsedAt: now });
    return { identity, account: { anchor: name.omniAccount } };
  }
  const refusal = admissionRefusal(known, await identities.listOf(known.anchor), now, dormantAfterMs);
  if (refusal !== undefined) throw refusal;
  await identities.touch(known.omniAccount, now, name.displayName);
  const account = await accounts.find(known.anchor);
  if (account === undefined) throw new Error("an identity leads to no account");
  return { identity: seenAgain(known, name, now), account };
}

/** An identity as it is once its person has proven to be it. */
export function seenAgain(known: Identity, { displayName }: IdentityName, now: number): Identity {
  return { ...known, lastUsedAt: now, ...(displayName !== undefined && { displayName }) };
}
