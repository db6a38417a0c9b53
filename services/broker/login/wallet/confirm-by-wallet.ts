import type { EvmAddress } from "@agentkeys/lib/ethereum";
import { Failure } from "@agentkeys/lib/failure";

import { auditEvent, type AuditStore, type Caller } from "../../audit/index.ts";
import { type IdentityStore, nameIdentity, refuseLinkedWallet, type VerifiedWallets } from "../../identity/index.ts";
import { gone, LinkUsed, next } from "../state-machine.ts";
import type { Login, LoginStore } from "../store.ts";

interface Stores {
  logins: LoginStore;
  identities: IdentityStore;
  wallets: VerifiedWallets;
  audit: AuditStore;
}

/** The wallet's signature over the challenge of a sign-in, which stands for the person's Yes. */
export interface WalletProofOfLogin {
  loginId: string;
  address: EvmAddress;
  clientId: string;
  now: number;
  caller: Caller;
}

/**
 * Confirms a sign-in with the wallet that has signed for it, in the transaction that spends the challenge.
 * @throws LinkUsed, Failure LOGIN_NOT_FOUND, LOGIN_EXPIRED, LOGIN_REFUSED, WALLET_NOT_OWN
 */
export async function confirmByWallet(
  tx: Stores,
  { loginId, address, clientId, now, caller }: WalletProofOfLogin,
): Promise<Login> {
  const login = await tx.logins.find(loginId);
  if (login === undefined) throw gone();
  const status = next(login, "prove", now);
  if (status instanceof Failure) throw status;
  const identity = { type: "evm", value: address } as const;
  const name = nameIdentity(identity, clientId);
  await refuseLinkedWallet(tx.wallets, name);
  if (!(await tx.logins.prove(loginId, identity, now))) throw new LinkUsed();
  const anchor = (await tx.identities.find(name.omniAccount))?.anchor ?? name.omniAccount;
  await tx.audit.append(auditEvent(now, caller, { action: "login.confirmed", anchor, subject: address }));
  return { ...login, status, identity, decidedAt: now };
}
