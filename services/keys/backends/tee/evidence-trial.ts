import { mediaTypes } from "@agentkeys/lib/evidence/evidence";
import type { RandomBytes } from "@agentkeys/lib/random";

import { BootRefused } from "./boot-decision.ts";
import type { EvidenceProvider } from "./provider.ts";

/** Kinds that no verifier can follow to their maker's root without what has to come along. */
const endorsed: ReadonlySet<string> = new Set([mediaTypes["sev-snp"], mediaTypes.tdx, mediaTypes["azure-cvm"]]);

/** What is to be looked at where there is none, by the kind of evidence. */
const remedies: Readonly<Record<string, string>> = {
  [mediaTypes.tpm2]:
    "does the TPM have the SHA-256 bank of the PCRs in AGENTKEYS_TEE_QUOTED_PCRS, and is its endorsement hierarchy open?",
  [mediaTypes["azure-cvm"]]:
    "is this a confidential VM of Azure, and does its metadata service (169.254.169.254) answer? TDX needs AGENTKEYS_TEE_ENDORSEMENTS",
  [mediaTypes["sev-snp"]]:
    "may this process write to /sys/kernel/config/tsm/report? Where the host hands out no certificates AGENTKEYS_TEE_ENDORSEMENTS must name them",
  [mediaTypes.tdx]:
    "may this process write to /sys/kernel/config/tsm/report, and is the file of AGENTKEYS_TEE_ENDORSEMENTS there?",
  [mediaTypes["aws-nitro"]]: "does the program of AGENTKEYS_TEE_ATTEST_PROGRAM run here, as this user?",
};

/**
 * Has evidence made once, over random data, before anything is opened or made: a worker that could prove itself to nobody says so when
 * it is started, and not to the first daemon. The evidence is thrown away. @throws BootRefused NO_EVIDENCE
 */
export async function tryEvidence(provider: EvidenceProvider, random: RandomBytes): Promise<void> {
  const { mediaType } = provider;
  const remedy = remedies[mediaType] ?? "look at AGENTKEYS_TEE_EVIDENCE";
  const refused = (why: string, cause?: unknown): BootRefused =>
    new BootRefused("NO_EVIDENCE", `this machine gives no evidence (${mediaType}): ${why}; ${remedy}`, { cause });
  const { evidence, endorsements } = await provider.evidence(random(32), random(32)).catch((error: unknown) => {
    throw refused(error instanceof Error ? error.message : "its maker failed", error);
  });
  if (evidence.length === 0) throw refused("what was made is empty");
  if (endorsed.has(mediaType) && endorsements.length === 0)
    throw refused("no certificate and no collateral comes along");
}
