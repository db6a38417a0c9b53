import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { networkOf } from "@agentkeys/lib/rpc/source-network";

/** How often something may happen. */
export interface Allowance {
  times: number;
  seconds: number;
}

/** What is limited, and by what it is counted. */
export interface Allowances {
  /** Sign-in mails, by the caller's address. */
  mailsBySource: Allowance;
  /** Sign-in mails, by the caller's address and the mailbox together. */
  mailsBySourceAndMailbox: Allowance;
  /** Sign-in mails, by the mailbox they go to: well above what one caller may send it, so that no one caller can lock it. */
  mailsByMailbox: Allowance;
  /** Sign-ins at providers, by the caller's address. */
  oauthLogins: Allowance;
  /** Ways to a provider that a browser is sent on: one sign-in may be gone on with more than once. By the caller's address. */
  providerVisits: Allowance;
  /** Sign-ins with own wallets, by the caller's address. */
  walletLogins: Allowance;
  /** Sign-ins with a passkey, and what passkeys are asked to sign, by the caller's address. */
  passkeyLogins: Allowance;
  /** Attempts to confirm a sign-in with a link that is not one, by the caller's address. */
  wrongLinks: Allowance;
  /** Renewals of sessions, by the key that they are bound to: all key services are told of each session that ended. */
  renewals: Allowance;
  /** Claims to addresses, by account. */
  claims: Allowance;
  /** SIWE challenges, by the caller's address. */
  challenges: Allowance;
  /** Answers to challenges that are refused (a wrong signature, a challenge that is over or unknown), by the caller's address. */
  wrongSignatures: Allowance;
  /** Questions to the EVM node about the signatures of contract wallets, by the caller's address. */
  contractChecks: Allowance;
  /** OIDC JWTs, by wallet. */
  mints: Allowance;
}

export const defaultAllowances: Allowances = {
  mailsBySource: { times: 30, seconds: 3600 },
  mailsBySourceAndMailbox: { times: 4, seconds: 900 },
  mailsByMailbox: { times: 20, seconds: 900 },
  oauthLogins: { times: 60, seconds: 900 },
  providerVisits: { times: 120, seconds: 900 },
  walletLogins: { times: 60, seconds: 900 },
  passkeyLogins: { times: 60, seconds: 900 },
  wrongLinks: { times: 30, seconds: 900 },
  renewals: { times: 30, seconds: 900 },
  claims: { times: 60, seconds: 60 },
  challenges: { times: 120, seconds: 60 },
  wrongSignatures: { times: 20, seconds: 900 },
  contractChecks: { times: 30, seconds: 60 },
  mints: { times: 60, seconds: 60 },
};

export type LimitName = keyof Allowances;

export interface Limits {
  /** Counts one; when that is one too many: @throws Failure RATE_LIMITED with the time to wait. */
  consume(name: LimitName, key: string): Promise<void>;
  /** Throws as `consume` does when none is left, counting nothing: for limits on what went wrong. */
  check(name: LimitName, key: string): Promise<void>;
}

/** Counts in this process's memory; replicas count by themselves. */
export function createLimits(allowances: Partial<Allowances> = {}): Limits {
  const limiters = new Map(
    Object.entries({ ...defaultAllowances, ...allowances }).map(([name, { times, seconds }]) => [
      name,
      new RateLimiterMemory({ keyPrefix: name, points: times, duration: seconds }),
    ]),
  );
  const limiter = (name: LimitName): RateLimiterMemory => {
    const found = limiters.get(name);
    if (found === undefined) throw new Error(`no limit is called ${name}`);
    return found;
  };
  return {
    consume: async (name, key) => {
      try {
        await limiter(name).consume(key.split(" ").map(networkOf).join(" "));
      } catch (error) {
        if (error instanceof RateLimiterRes) throw tooMany(error.msBeforeNext);
        throw error;
      }
    },
    check: async (name, key) => {
      const state = await limiter(name).get(key.split(" ").map(networkOf).join(" "));
      if (state !== null && state.consumedPoints >= limiter(name).points) throw tooMany(state.msBeforeNext);
    },
  };
}

function tooMany(retryAfterMs: number): Failure {
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000));
  return new Failure(ErrorReason.RATE_LIMITED, `too many of these; try again in ${seconds} s`, {
    retryAfterMs: seconds * 1000,
  });
}
