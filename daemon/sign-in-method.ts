import { type EvmAddress, parseEvmAddress } from "@agentkeys/lib/ethereum";

import { Problem } from "./problem.ts";

/** How a person proves who they are. */
export type SignInMethod = { email: string } | { provider: string } | { wallet: WalletMethod } | { passkey: true };

/** With an own wallet: on the broker's page, or, where `signsHere` says whose signature, by one that is brought to the terminal. */
export interface WalletMethod {
  signsHere?: EvmAddress;
}

/** What a command line says of it. */
export interface MethodOptions {
  email?: string;
  /** The name of an identity provider at the broker. */
  oauth?: string;
  /** With or without the wallet's address. */
  wallet?: string | true;
  passkey?: boolean;
  /** The signature is typed in. */
  paste?: boolean;
}

/** The one method that a command line names; `undefined` where it names none. @throws Problem USAGE */
export function methodIn(
  { email, oauth, wallet, passkey, paste = false }: MethodOptions,
  remedy: string,
): SignInMethod | undefined {
  const named = [email, oauth, wallet, passkey].filter((each) => each !== undefined);
  if (named.length > 1) throw usage("Give one of --email, --oauth, --wallet and --passkey, not two.", remedy);
  if (email !== undefined) return { email: mailbox(email) };
  if (oauth !== undefined) return { provider: oauth };
  if (passkey === true) return { passkey };
  return wallet === undefined ? undefined : { wallet: walletMethod(wallet, paste) };
}

/** As much of the broker's rule as a slip of the hand breaks, before anybody is asked. @throws Problem USAGE */
export function mailbox(email: string): string {
  if (/^\s*[^\s@]+@[^\s@]+\s*$/.test(email)) return email;
  throw usage("That is no e-mail address.", "Give one like you@example.com.");
}

/** @throws Problem USAGE */
export function walletMethod(wallet: string | true, paste: boolean): WalletMethod {
  const address = wallet === true ? undefined : addressIn(wallet);
  if (!paste) return {};
  if (address !== undefined) return { signsHere: address };
  throw usage("--paste needs to know which wallet is going to sign.", "Give its address, as in --wallet 0x… --paste.");
}

function addressIn(text: string): EvmAddress {
  try {
    return parseEvmAddress(text.trim());
  } catch (error) {
    const why = error instanceof Error ? error.message : "";
    throw usage(`That is no wallet: ${why}.`, "Give it as your wallet shows it.");
  }
}

function usage(message: string, remedy: string): Problem {
  return new Problem("USAGE", "usage", message, { remedy });
}
