import { type Clock, MINUTE } from "@agentkeys/lib/clock";
import type { EvmAddress } from "@agentkeys/lib/ethereum";
import { type RandomBytes, randomId } from "@agentkeys/lib/random";
import type { Session } from "@agentkeys/lib/session";

import { auditEvent, type AuditStore, type Caller } from "../audit/index.ts";
import type { Limits } from "../limits/index.ts";
import { signChallenge, type SigningKeys } from "../token/index.ts";
import type { ContractWallets } from "./contract-wallets.ts";
import { SESSION_STATEMENT, siweDomain, siweMessage } from "./siwe-message.ts";
import type { Challenge, ChallengeStore } from "./store.ts";

/** How long a challenge may be answered. */
export const CHALLENGE_LIFE_MS = 5 * MINUTE;
/** Ethereum's own chain: what a challenge names where no node is asked, and the wallet is on no chain in particular. */
const MAINNET = 1;

export interface ChallengeParts {
  transaction: <T>(work: (tx: { challenges: ChallengeStore; audit: AuditStore }) => Promise<T>) => Promise<T>;
  limits: Limits;
  sessionKeys: SigningKeys;
  /** Absent: only wallets with a key of their own sign. */
  contractWallets?: ContractWallets;
  publicUrl: () => string;
  clock: Clock;
  random: RandomBytes;
}

/** Makes a challenge for a wallet; under a session, a correct answer also proves that account's claim. @throws Failure RATE_LIMITED */
export async function startChallenge(
  parts: ChallengeParts,
  { address, session, caller }: { address: EvmAddress; session: Session | undefined; caller: Caller },
): Promise<{ challenge: Challenge; challengeToken: string }> {
  const { transaction, limits, sessionKeys, publicUrl, clock } = parts;
  await limits.consume("challenges", caller.sourceAddress);
  const { nonce, challenge: drafted } = newChallenge(parts, { address, statement: SESSION_STATEMENT });
  const challenge: Challenge = {
    ...drafted,
    ...(session && {
      startedBy: {
        sessionId: session.id,
        anchor: session.anchor,
        ...(session.dpopThumbprint !== undefined && { dpopThumbprint: session.dpopThumbprint }),
      },
    }),
  };
  const { requestId, message, expiresAt } = challenge;
  const domain = siweDomain(publicUrl());
  const challengeToken = await signChallenge(
    { requestId, address, domain, nonce, message, expiresAt },
    publicUrl(),
    sessionKeys,
  );
  await transaction(async (tx) => {
    await tx.challenges.insert(challenge);
    // What nobody's history can show is not kept: anyone may start challenges, as many as they like.
    if (session === undefined) return;
    const facts = { anchor: session.anchor, sessionId: session.id, subject: address };
    await tx.audit.append(auditEvent(clock(), caller, { action: "challenge.started", ...facts }));
  });
  return { challenge, challengeToken };
}

/** A challenge with a nonce and a text of its own, not stored yet. `until`: the latest time at which it may end. */
export function newChallenge(
  {
    publicUrl,
    contractWallets,
    clock,
    random,
  }: Pick<ChallengeParts, "publicUrl" | "contractWallets" | "clock" | "random">,
  { address, statement, until = Infinity }: { address: EvmAddress; statement: string; until?: number },
): { challenge: Challenge; nonce: string } {
  const createdAt = clock();
  // Whole seconds, so that the text, the token and the store agree.
  const issuedAt = wholeSeconds(createdAt);
  const expiresAt = wholeSeconds(Math.min(issuedAt + CHALLENGE_LIFE_MS, until));
  const requestId = randomId(random);
  const nonce = Buffer.from(random(16)).toString("hex");
  const chainId = contractWallets?.chainId() ?? MAINNET;
  const message = siweMessage({
    ...{ publicUrl: publicUrl(), address, statement, chainId },
    ...{ nonce, requestId, issuedAt, expiresAt },
  });
  return { nonce, challenge: { requestId, address, message, createdAt, expiresAt } };
}

function wholeSeconds(time: number): number {
  return Math.floor(time / 1000) * 1000;
}
