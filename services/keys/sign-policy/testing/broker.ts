import { createHash } from "node:crypto";

import { generateKeyPair, type JWTPayload, type JWTVerifyGetKey, SignJWT } from "jose";

import { MINUTE } from "@agentkeys/lib/clock";
import { checksumAddress, type EvmAddress } from "@agentkeys/lib/ethereum";

export const BROKER = "https://broker.example";
export const NOW = Date.parse("2026-11-29T08:00:00.000Z");
export const address = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed" as EvmAddress;

/** A sign-in message as the broker makes it, line by line, so that tests can make each line another. */
export function linesOf(
  changes: Partial<Record<"address" | "nonce" | "issued" | "expires" | "requestId", string>> = {},
): string[] {
  return [
    "broker.example wants you to sign in with your Ethereum account:",
    changes.address ?? checksumAddress(address),
    "",
    "Sign in to AgentKeys with this wallet. This moves no funds and approves no transaction.",
    "",
    "URI: https://broker.example",
    "Version: 1",
    "Chain ID: 1",
    `Nonce: ${changes.nonce ?? "00112233445566778899aabbccddeeff"}`,
    `Issued At: ${changes.issued ?? "2026-11-29T08:00:00.000Z"}`,
    `Expiration Time: ${changes.expires ?? "2026-11-29T08:05:00.000Z"}`,
    `Request ID: ${changes.requestId ?? "AAAAAAAAAAAAAAAAAAAAAA"}`,
  ];
}

export const bytesOf = (lines: readonly string[]): Uint8Array => Buffer.from(lines.join("\n"));

/** A broker that signs challenge tokens. */
export async function challengingBroker(): Promise<{
  keys: JWTVerifyGetKey;
  /** A token that names this message, but for what `changes` says otherwise. */
  tokenFor: (message: Uint8Array, changes?: JWTPayload, header?: Record<string, unknown>) => Promise<string>;
}> {
  const { publicKey, privateKey } = await generateKeyPair("ES256");
  return {
    keys: () => publicKey,
    tokenFor: (message, changes = {}, header = {}) => {
      const text = Buffer.from(message).toString();
      const valueOf = (name: string): string => new RegExp(`^${name}: (.*)$`, "m").exec(text)?.[1] ?? "";
      const claims: JWTPayload = {
        iss: BROKER,
        jti: valueOf("Request ID"),
        exp: Math.floor((Date.parse(valueOf("Expiration Time")) || NOW + 5 * MINUTE) / 1000),
        address,
        domain: "broker.example",
        nonce: valueOf("Nonce"),
        message_sha256: createHash("sha256").update(message).digest("hex"),
        ...changes,
      };
      return new SignJWT(claims)
        .setProtectedHeader({ alg: "ES256", typ: "agentkeys-challenge+jwt", kid: "k1", ...header })
        .sign(privateKey);
    },
  };
}
