import { type Clock, MINUTE } from "@agentkeys/lib/clock";
import type { EvmAddress } from "@agentkeys/lib/ethereum";
import { type RandomBytes, randomId } from "@agentkeys/lib/random";
import type { Session } from "@agentkeys/lib/session";

import { auditEvent, type AuditStore, type Caller } from "../audit/index.ts";
import type { Limits } from "../limits/index.ts";
import { signChallenge, type SigningKeys } from "../token/index.ts";
import { siweDomain, siweMessage } from "./siwe-message.ts";
import type { Challenge, ChallengeStore } from "./store.ts";

/** How long a challenge may be answered. */
export const CHALLENGE_LIFE_MS = 5 * MINUTE;

export interface ChallengeParts {
  transaction: <T>(work: (tx: { challenges: ChallengeStore; audit: AuditStore }) => Promise<T>) => Promise<T>;
  limits: Limits;
  sessionKeys: SigningKeys;
  publicUrl: () => string;
  clock: Clock;
  random: RandomBytes;
}

/** Makes a challenge for a wallet; under a session, a correct answer also proves that account's claim. @throws Failure RATE_LIMITED */
export async function startChallenge(
  { transaction, limits, sessionKeys, publicUrl, clock, random }: ChallengeParts,
  { address, session, caller }: { address: EvmAddress; session: Session | undefined; caller: Caller },
): Promise<{ challenge: Challenge; challengeToken: string }> {
  await limits.consume("challenges", caller.sourceAddress);
  const now = clock();
  // Whole seconds, so that the text, the token and the store agree.
  const issuedAt = Math.floor(now / 1000) * 1000;
  const expiresAt = issuedAt + CHALLENGE_LIFE_MS;
  const requestId = randomId(random);
  const nonce = Buffer.from(random(16)).toString("hex");
  const message = siweMessage({ publicUrl: publicUrl(), address, nonce, requestId, issuedAt, expiresAt });
  const challenge: Challenge = {
    requestId,
    address,
    message,
    createdAt: now,
    expiresAt,
    ...(session && {
      startedBy: {
        sessionId: session.id,
        anchor: session.anchor,
        ...(session.dpopThumbprint !== undefined && { dpopThumbprint: session.dpopThumbprint }),
      },
    }),
  };
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
    await tx.audit.append(auditEvent(now, caller, { action: "challenge.started", ...facts }));
  });
  return { challenge, challengeToken };
}
