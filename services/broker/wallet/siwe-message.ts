import { SiweMessage } from "siwe";

import { checksumAddress, type EvmAddress } from "@agentkeys/lib/ethereum";

/** What a challenge says. Times are epoch milliseconds. */
export interface SiweContent {
  /** The broker's public URL. */
  publicUrl: string;
  address: EvmAddress;
  /** What the signature is for, in sentences of the characters that EIP-4361 allows. */
  statement: string;
  /** EIP-155: where the address is looked up if it is a contract's. */
  chainId: number;
  /** 128 random bits or more, alphanumeric. */
  nonce: string;
  requestId: string;
  issuedAt: number;
  expiresAt: number;
}

/** What a wallet that a key service signs for is asked. */
export const SESSION_STATEMENT =
  "Sign in to AgentKeys with this wallet. This moves no funds and approves no transaction.";

/** The text that the wallet signs (EIP-4361), for the broker's own domain. */
export function siweMessage(content: SiweContent): string {
  const { publicUrl, address, statement, chainId, nonce, requestId, issuedAt, expiresAt } = content;
  return new SiweMessage({
    domain: siweDomain(publicUrl),
    address: checksumAddress(address),
    statement,
    uri: publicUrl,
    version: "1",
    chainId,
    nonce,
    requestId,
    issuedAt: new Date(issuedAt).toISOString(),
    expirationTime: new Date(expiresAt).toISOString(),
  }).prepareMessage();
}

/** The domain that a challenge of this broker names: host and port. */
export function siweDomain(publicUrl: string): string {
  return new URL(publicUrl).host;
}
