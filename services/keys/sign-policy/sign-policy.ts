import type { JWTVerifyGetKey } from "jose";

import type { OmniAccount } from "@agentkeys/lib/account";
import { type Clock, MINUTE, SECOND } from "@agentkeys/lib/clock";
import type { EvmAddress } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { createReplayCache } from "@agentkeys/lib/session";

import { verifyChallengeToken } from "./challenge-token.ts";
import { type Allowance, createRateLimit } from "./rate-limit.ts";
import { asksToSignIn, parseSignInMessage, type SignInMessage } from "./sign-in-message.ts";

export interface SignPolicyOptions {
  /** The broker's public URL: the issuer of its tokens, the URI of its messages, and by its host and port their domain. */
  broker: string;
  /** The broker's session keys. */
  keys: JWTVerifyGetKey;
  clock: Clock;
  /** Sign messages of every other kind as well, without any challenge. To be part of what is measured, and shown. Default false. */
  generalMessages?: boolean;
  /** How often one account may ask for a signature. Default 120 times a minute. */
  allowance?: Allowance;
}

/** Decides what is signed. */
export interface SignPolicy {
  readonly generalMessages: boolean;
  /** Counts a call by who makes it, whatever it asks for. @throws Failure RATE_LIMITED */
  admit(caller: OmniAccount): void;
  /**
   * Lets a message through that this wallet may sign now, and once.
   * @throws Failure MESSAGE_NOT_ALLOWED, CHALLENGE_TOKEN_INVALID, CHALLENGE_SPENT, BROKER_UNAVAILABLE
   */
  check(request: { address: EvmAddress; message: Uint8Array; challengeToken: string }): Promise<void>;
}

/** How long a message may be good for. */
const LONGEST_LIFE_MS = 5 * MINUTE;
/** How far the broker's clock may be ahead of this one. */
const CLOCK_SKEW_MS = 30 * SECOND;

/**
 * Only sign-in messages (EIP-4361) of one broker: for the account's own wallet, in their time, and named by a challenge that the
 * broker signed. Each challenge signs once. What was signed is forgotten when the process ends: a challenge that is still
 * good gives the same signature again then, byte for byte (RFC 6979), and so nothing new.
 */
export function createSignPolicy(options: SignPolicyOptions): SignPolicy {
  const { broker, keys, clock, generalMessages = false, allowance = { times: 120, seconds: 60 } } = options;
  const domain = new URL(broker).host;
  const limit = createRateLimit(allowance, clock);
  const spent = createReplayCache();

  function checkContent(message: SignInMessage, address: EvmAddress): void {
    const now = clock();
    if (message.address !== address) throw notAllowed("it is for another wallet than this account's");
    if (message.domain !== domain || message.uri !== broker)
      throw notAllowed("it is for another site than this broker");
    if (message.expiresAt <= now) throw notAllowed("it has expired");
    if (message.issuedAt > now + CLOCK_SKEW_MS) throw notAllowed("it was issued in the future");
    if (message.expiresAt <= message.issuedAt || message.expiresAt - message.issuedAt > LONGEST_LIFE_MS) {
      throw notAllowed("it is good for longer than 5 minutes");
    }
  }

  return {
    generalMessages,
    admit: limit,
    check: async ({ address, message: bytes, challengeToken }) => {
      const message = parseSignInMessage(bytes);
      if (generalMessages && message?.domain !== domain && !asksToSignIn(bytes, domain)) return;
      if (message === undefined) throw notAllowed("it is not a sign-in message as the broker makes them (EIP-4361)");
      checkContent(message, address);
      await verifyChallengeToken(challengeToken, { message, bytes }, { issuer: broker, keys, clock });
      if (!spent.use(message.requestId, message.expiresAt, clock())) {
        throw new Failure(ErrorReason.CHALLENGE_SPENT, "this challenge was signed already; ask the broker for another");
      }
    },
  };
}

function notAllowed(why: string): Failure {
  return new Failure(ErrorReason.MESSAGE_NOT_ALLOWED, `this message is not signed here: ${why}`);
}
