import { createHash, randomBytes } from "node:crypto";

import { exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";

import { computeOmniAccount } from "@agentkeys/lib/account";
import { checksumAddress, type EvmAddress } from "@agentkeys/lib/ethereum";
import { createSigningEngine } from "@agentkeys/keys/signing.ts";

export const BROKER = "https://broker.example";
export const MASTER_SECRET = new Uint8Array(32).fill(7);

/** Makes sessions and challenges as a broker does, without one. */
export async function makeBroker(): Promise<{
  publicJwk: JWK;
  omniAccount: string;
  session: string;
  /** The body of a SignMessage call for a challenge of its own. */
  challenge: (wallet?: EvmAddress) => Promise<object>;
}> {
  const { publicKey, privateKey } = await generateKeyPair("ES256");
  const omniAccount = computeOmniAccount({
    clientId: "agentkeys",
    identityType: "email",
    identityValue: "a@example.com",
  });
  const { address } = await createSigningEngine(Buffer.from(MASTER_SECRET)).walletOf(omniAccount);
  const session = await new SignJWT({ kind: "identity", anchor: omniAccount, identity: omniAccount })
    .setProtectedHeader({ alg: "ES256", typ: "at+jwt" })
    .setIssuer(BROKER)
    .setAudience("agentkeys")
    .setSubject(omniAccount)
    .setJti("session")
    .setIssuedAt()
    .setExpirationTime("1h")
    .sign(privateKey);
  const challenge = async (wallet = address): Promise<object> => {
    const issuedAt = Math.floor(Date.now() / 1000) * 1000;
    const expiresAt = issuedAt + 300_000;
    const [nonce, requestId] = [randomBytes(16).toString("hex"), randomBytes(16).toString("base64url")];
    const message = [
      "broker.example wants you to sign in with your Ethereum account:",
      ...[checksumAddress(wallet), "", "Sign in to AgentKeys with this wallet.", "", `URI: ${BROKER}`, "Version: 1"],
      ...["Chain ID: 1", `Nonce: ${nonce}`, `Issued At: ${new Date(issuedAt).toISOString()}`],
      ...[`Expiration Time: ${new Date(expiresAt).toISOString()}`, `Request ID: ${requestId}`],
    ].join("\n");
    const message_sha256 = createHash("sha256").update(message).digest("hex");
    const token = await new SignJWT({ address: wallet, domain: "broker.example", nonce, message_sha256 })
      .setProtectedHeader({ alg: "ES256", typ: "agentkeys-challenge+jwt" })
      .setIssuer(BROKER)
      .setJti(requestId)
      .setExpirationTime(expiresAt / 1000)
      .sign(privateKey);
    return { omniAccount, messageHex: Buffer.from(message).toString("hex"), challengeToken: token };
  };
  return { publicJwk: await exportJWK(publicKey), omniAccount, session, challenge };
}
