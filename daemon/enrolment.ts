import { type EvmAddress, parseEvmAddress } from "@agentkeys/lib/ethereum";
import { Secret } from "@agentkeys/lib/secret";

import type { Access } from "./access.ts";
import { checkChallenge } from "./challenge.ts";
import type { AwsCredentials } from "./credentials/aws-credentials.ts";
import { Problem, problemOf } from "./problem.ts";
import { invalidAnswer, timeOf } from "./services.ts";

/** The last step's part: trades an OIDC JWT for AWS credentials; see credentials/sts.ts. */
export type AssumeRole = (jwt: Secret, wallet: EvmAddress) => Promise<AwsCredentials>;

/** A session that the wallet signed for. It is kept in memory only. */
export interface WalletSession {
  token: Secret;
  address: EvmAddress;
  /** Epoch milliseconds. */
  expiresAt: number;
}

/** What the flow calls at its milestones. */
export interface Milestones {
  /** The wallet's address is known, and is the recorded one if there is one. */
  derived(address: EvmAddress): void;
  /** The wallet has signed, so that its link to the account is verified: its address is to be recorded. */
  linked(address: EvmAddress): Promise<void>;
}

/**
 * The mission's flow, from the identity session of a sign-in to AWS credentials. Without `assumeRole` it ends with the wallet's
 * session. Any failure is a `Problem`, and leaves nothing that a second try could trip over.
 */
export async function enrol(access: Access, on: Milestones, assumeRole: AssumeRole): Promise<AwsCredentials>;
export async function enrol(
  access: Access,
  on: Milestones,
  assumeRole?: AssumeRole,
): Promise<AwsCredentials | undefined>;
export async function enrol(
  access: Access,
  on: Milestones,
  assumeRole?: AssumeRole,
): Promise<AwsCredentials | undefined> {
  const address = await deriveWallet(access);
  on.derived(address);
  await access.asPerson.wallet.linkWallet({ address });
  const session = await signInWithWallet(access, address);
  await on.linked(address);
  if (assumeRole === undefined) return undefined;
  const { jwt } = await mintOidcJwt(access, session);
  return await assumeRole(jwt, address);
}

/** Asks the key service which wallet the account has there, whatever it was before. */
export async function walletThere({ keys, enrolment }: Access): Promise<EvmAddress> {
  return readAddress((await keys.deriveAddress({ omniAccount: enrolment.omniAccount })).address);
}

/** Asks the key service which wallet the account has. @throws Problem WALLET_CHANGED */
export async function deriveWallet(access: Access): Promise<EvmAddress> {
  const { enrolment } = access;
  const derived = await walletThere(access);
  if (enrolment.walletAddress !== undefined) requireSameWallet(enrolment.walletAddress, derived);
  return derived;
}

/**
 * Has the wallet sign the broker's challenge (EIP-4361), which gives a wallet session. This is what the daemon repeats by itself.
 * @throws Problem WALLET_CHANGED, CHALLENGE_UNEXPECTED
 */
export async function signInWithWallet(access: Access, address: EvmAddress): Promise<WalletSession> {
  const { omniAccount, issuer } = access.enrolment;
  const challenge = await access.asPerson.wallet.startWalletAuth({ address });
  checkChallenge(challenge.siweMessage, { issuer, address });
  const signing = access.keys.signMessage({
    omniAccount,
    messageHex: Buffer.from(challenge.siweMessage, "utf8").toString("hex"),
    challengeToken: challenge.challengeToken,
  });
  const signed = await signing.catch(async (error: unknown) => {
    // A TEE worker signs for no other wallet than its own of this account: what that means for a person is another thing.
    if (problemOf(error).reason === "MESSAGE_NOT_ALLOWED") requireSameWallet(address, await walletThere(access));
    throw error;
  });
  await access.recorded(signed.logIndex);
  requireSameWallet(address, readAddress(signed.address));
  const { requestId } = challenge;
  const verified = await access.asMachine.wallet.verifyWallet({ requestId, signature: signed.signature });
  return { token: new Secret(verified.sessionJwt), address, expiresAt: timeOf(verified.expiresAt) };
}

/** Has the broker vouch for the wallet to `audience` (default: AWS STS). */
export async function mintOidcJwt(
  access: Access,
  session: WalletSession,
  audience = "",
): Promise<{ jwt: Secret; expiresAt: number }> {
  const { jwt, expiresAt } = await access.asWallet(session.token).wallet.mintOidcJwt({ audience });
  return { jwt: new Secret(jwt), expiresAt: timeOf(expiresAt) };
}

function readAddress(text: string): EvmAddress {
  try {
    return parseEvmAddress(text);
  } catch {
    throw invalidAnswer("key service", "what it gives as the wallet's address is none");
  }
}

/** Another wallet would reach other data, and would leave this account's behind: nobody but the person may decide that. */
function requireSameWallet(recorded: EvmAddress, derived: EvmAddress): void {
  if (recorded === derived) return;
  throw new Problem(
    "WALLET_CHANGED",
    "standing",
    `This account's wallet is ${recorded}, but the key service now answers with ${derived}. Everything was stopped.`,
    {
      remedy:
        "AGENTKEYS_KEYS_URL may name another key service, or its master secret was replaced: put that right. " +
        "If the change was meant, `agentkeys migrate-wallet` links the new wallet, and says what else names the old one.",
    },
  );
}
