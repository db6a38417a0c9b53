import type { GetAttestationResponse } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { identityKeyName, parseClaims } from "@agentkeys/lib/evidence/claims";

import { type Asked, appraise } from "@agentkeys/lib/attested/appraise";
import { type ObservedPlatform, observePlatform } from "./observe.ts";
import { parsePolicy } from "./policy.ts";

/** What a policy is when nobody has thought of something better. */
const USUAL = { max_evidence_age_s: 60, reattest_every_s: 900, clock_skew_s: 30 };

/**
 * A policy that demands what was just seen, as the text of its file. Whether it is the right key service nothing here can tell: a person
 * has to compare the values with those that its operator publishes. @throws AttestationError where the evidence does not hold by itself
 */
export function draftPolicy(
  answer: GetAttestationResponse,
  asked: Asked,
  { roots }: { roots: readonly string[] },
): { text: string; platform: ObservedPlatform } {
  const claims = parseClaims(answer.claims);
  const platform = observePlatform(answer, { roots, at: new Date(asked.at) });
  const policy = {
    version: 1,
    signer: claims.log.vkey.split("+", 1)[0],
    channel: "tls-exporter",
    ...USUAL,
    identity_keys: [identityKeyName(claims.identityKey)],
    settings: claims.settings,
    ...(claims.minSecurityVersion !== undefined && { min_security_version: claims.minSecurityVersion }),
    log: { vkey: claims.log.vkey },
    platforms: [platform],
  };
  const text = JSON.stringify(policy, null, 2) + "\n";
  // The connection, the nonce and the age hold too, and all of it is what the policy says.
  appraise(answer, asked, parsePolicy(text));
  return { text, platform };
}
