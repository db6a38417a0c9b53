import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";

import { ErrorReason, Failure } from "./failure.ts";

/**
 * The name of an identity, and of the account that its first identity anchors: 64 lower-case hex characters,
 * `sha256(client_id || identity_type || identity_value)`. Made by `parseOmniAccount` and `computeOmniAccount` only.
 */
export type OmniAccount = string & { readonly __brand: "OmniAccount" };

/** How somebody proves who they are. */
export type IdentityType = "email" | "oauth2" | "evm" | "passkey";

/** Reads an omni_account as it stands on the wire. @throws Failure INVALID_OMNI_ACCOUNT */
export function parseOmniAccount(text: string): OmniAccount {
  if (!/^[0-9a-f]{64}$/.test(text)) {
    throw new Failure(ErrorReason.INVALID_OMNI_ACCOUNT, "omni_account must be 64 lower-case hex characters");
  }
  return text as OmniAccount;
}

/** What an omni_account is computed from; `identityValue` is in its canonical form already. */
export interface IdentityName {
  clientId: string;
  identityType: IdentityType;
  identityValue: string;
}

/** SHA-256 over the UTF-8 of the three parts, one after the other without separators. */
export function computeOmniAccount({ clientId, identityType, identityValue }: IdentityName): OmniAccount {
  return bytesToHex(sha256(utf8ToBytes(clientId + identityType + identityValue))) as OmniAccount;
}
