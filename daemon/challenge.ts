import { checksumAddress, type EvmAddress } from "@agentkeys/lib/ethereum";

import { Problem } from "./problem.ts";

/**
 * Refuses to have anything signed but the broker's own challenge to this wallet: the beginning of an EIP-4361 message names the site
 * that the signature is good for, and the address. A signature over other text could be worth something elsewhere.
 * @throws Problem CHALLENGE_UNEXPECTED
 */
export function checkChallenge(message: string, { issuer, address }: { issuer: string; address: EvmAddress }): void {
  const { host, protocol } = new URL(issuer);
  const beginning = `${host} wants you to sign in with your Ethereum account:\n${checksumAddress(address)}\n`;
  if (message.startsWith(beginning) || message.startsWith(`${protocol}//${beginning}`)) return;
  throw new Problem(
    "CHALLENGE_UNEXPECTED",
    "standing",
    `The broker asked for a signature that is no sign-in at ${host} by ${address}.`,
    {
      remedy: "Nothing was signed. If the broker's public address was changed, run `agentkeys init`.",
    },
  );
}
