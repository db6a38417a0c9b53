import { SiweMessage } from "siwe";

import { checksumAddress, type EvmAddress } from "@agentkeys/lib/ethereum";

/** What a challenge says. Times are epoch milliseconds. */
export interface SiweContent {
  /** The broker's public URL. */
  publicUrl: string;
  address: EvmAddress;
  /** 128 random bits or more, alphanumeric. */
  nonce: string;
  requestId: string;
  issuedAt: number;
  expiresAt: number;
}

/** The text that the wallet signs (EIP-4361), for the broker's own domain. */
export function siweMessage({ publicUrl, address, nonce, requestId, issuedAt, expiresAt }: SiweContent): string {
  return new SiweMessage({
    domain: siweDomain(publicUrl),
    address: checksumAddress(address),
    statement: "Sign in to AgentKeys with this wallet. This moves no funds and approves no transaction.",
    uri: publicUrl,
    version: "1",
    // The wallet is an identity here, on no chain in particular; EIP-4361 wants a number.
    chainId: 1,
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
