import type { S3Client } from "@aws-sdk/client-s3";

import { tryPlace } from "./vault.ts";

/** Somebody with credentials of their own. */
export interface Tenant {
  name: string;
  wallet: string;
  s3: S3Client;
}

/**
 * Has every tenant write, read and list in everybody's place, and says what is wrong: a place of one's own that cannot be used, or
 * another's that can. Nothing is wrong only when two tenants or more truly differ.
 */
export async function isolationFaults(bucket: string, tenants: readonly Tenant[]): Promise<string[]> {
  const faults: string[] = [];
  if (new Set(tenants.map(({ wallet }) => wallet)).size < 2) faults.push("there are no two different wallets");
  for (const tenant of tenants) {
    for (const owner of tenants) {
      const expected = owner === tenant ? "OK" : "AccessDenied";
      const attempts = await tryPlace(tenant.s3, bucket, owner.wallet);
      for (const [what, outcome] of Object.entries(attempts)) {
        if (outcome !== expected) faults.push(`${tenant.name} ${what} at ${owner.name}'s: ${String(outcome)}`);
      }
    }
  }
  return faults;
}
