import type { Secret } from "@agentkeys/lib/secret";

/** Temporary AWS credentials. Times in epoch milliseconds. */
export interface AwsCredentials {
  accessKeyId: string;
  secretAccessKey: Secret;
  sessionToken: Secret;
  obtainedAt: number;
  expiresAt: number;
}

/** AWS's SDKs ask anew in the last 15 minutes: what they get should then be good for longer. */
const EARLY_MS = 20 * 60_000;
/** Whoever is handed credentials should be able to make a call with them. */
const USABLE_MS = 30_000;

/** When credentials are to be replaced: early enough for several tries, and not before half of their life is over. */
export function refreshTime({ obtainedAt, expiresAt }: Pick<AwsCredentials, "obtainedAt" | "expiresAt">): number {
  return expiresAt - Math.min(EARLY_MS, (expiresAt - obtainedAt) / 2);
}

/** Whether credentials can still be handed out. */
export function isUsable({ expiresAt }: Pick<AwsCredentials, "expiresAt">, now: number): boolean {
  return now < expiresAt - USABLE_MS;
}
