import { createHash } from "node:crypto";

import { MINUTE } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { randomSecret } from "@agentkeys/lib/random";

import type { PasskeyParts } from "./parts.ts";
import type { Ceremony, ChallengeOwner } from "./store.ts";

/** How long a person may take with their passkey, in milliseconds. */
export const PASSKEY_CHALLENGE_LIFE_MS = 5 * MINUTE;

/**
 * Which browser a challenge is for: one that a sign-in is confirmed in, by the secret in its cookie, or one that is signed in. An answer
 * is taken from the browser that asked, and for what it asked.
 */
export type Browser = { loginId: string; browserSecret: string } | { sessionId: string };

/** 256 random bits in base64url, of which the store keeps a hash. */
export async function newChallenge(
  { passkeyChallenges, clock, random }: Pick<PasskeyParts, "passkeyChallenges" | "clock" | "random">,
  browser: Browser,
  ceremony: Ceremony,
): Promise<string> {
  const challenge = randomSecret(random);
  await passkeyChallenges.insert({
    challengeHash: hashFor(challenge, browser),
    ceremony,
    owner: ownerOf(browser),
    expiresAt: clock() + PASSKEY_CHALLENGE_LIFE_MS,
  });
  return challenge;
}

/** Uses up the challenge that an answer is about, whatever the answer is worth. @throws Failure CHALLENGE_NOT_FOUND */
export async function spendChallenge(
  { passkeyChallenges, clock }: Pick<PasskeyParts, "passkeyChallenges" | "clock">,
  browser: Browser,
  ceremony: Ceremony,
  challenge: string,
): Promise<void> {
  const spent = await passkeyChallenges.spend(
    { challengeHash: hashFor(challenge, browser), ceremony, owner: ownerOf(browser) },
    clock(),
  );
  if (spent) return;
  throw new Failure(
    ErrorReason.CHALLENGE_NOT_FOUND,
    "what the passkey answered was not asked by this page, was answered before, or is older than 5 minutes: press the button again",
  );
}

/** The browser's secret goes into the hash: who has only the challenge, or only the store, finds nothing by it. */
function hashFor(challenge: string, browser: Browser): string {
  const secret = "browserSecret" in browser ? browser.browserSecret : "";
  return createHash("sha256").update(`${challenge} ${secret}`, "utf8").digest("hex");
}

function ownerOf(browser: Browser): ChallengeOwner {
  return "loginId" in browser ? { loginId: browser.loginId } : { sessionId: browser.sessionId };
}
