import type { KeyObject } from "node:crypto";

import {
  type Approval,
  APPROVAL_REFERENCE,
  isApprovedBy,
  nameOf,
  type PcrValues,
  policyAuthorize,
  policyOfAuthorization,
  policyOfPcrs,
  policyPcr,
  readPcrs,
  template,
  type TpmSequence,
  type TpmSession,
} from "@agentkeys/lib/tpm2";

import { type PcrDifference, UnsealRefused } from "./sealer.ts";

/** For which code a TPM opens what it sealed. */
export interface SealPolicy {
  /** Becomes part of the vault's type, which stands in the state file. */
  readonly type: string;
  /**
   * The policy for something new. Refuses when the code that runs now would not be let in by it: what it seals it has to be able
   * to open. `sealedTo` is kept beside the blob, for the words of a later refusal. @throws UnsealRefused
   */
  prepare(tpm: TpmSequence): Promise<{ digest: Buffer; sealedTo?: PcrValues }>;
  /** Makes the session satisfy the policy. @throws UnsealRefused MEASUREMENT, APPROVAL */
  satisfy(tpm: TpmSequence, session: TpmSession, sealedTo: PcrValues | undefined): Promise<void>;
}

/** Exactly the code that sealed it: another release finds it closed. */
export function exactPcrs(pcrs: readonly number[]): SealPolicy {
  if (pcrs.length === 0) throw new RangeError("a seal over no PCR opens for any code");
  return {
    type: "tpm2-pcr",
    prepare: async (tpm) => {
      const values = await readPcrs(tpm, pcrs);
      return { digest: policyOfPcrs(values), sealedTo: values };
    },
    satisfy: async (tpm, session, sealedTo) => {
      if (sealedTo === undefined) throw new UnsealRefused("BLOB", "the blob does not say to which PCRs it was sealed");
      const measured = await readPcrs(tpm, [...sealedTo.keys()]);
      const differences = differencesOf(measured, [sealedTo]);
      if (differences.length > 0) throw refusedFor(differences, "the master secret was sealed to other code");
      await policyPcr(tpm, session, [...sealedTo.keys()]);
    },
  };
}

/** Whatever code a release key has approved: a new release opens what the old one sealed, and nothing else does. */
export function releaseKey(key: KeyObject, approvals: readonly Approval[]): SealPolicy {
  const area = template.verificationKey(key);
  const digest = policyOfAuthorization(nameOf(area), APPROVAL_REFERENCE);

  async function approvalOfRunningCode(tpm: TpmSequence): Promise<Approval> {
    const measured = await readPcrs(tpm, [...new Set(approvals.flatMap(({ pcrs }) => [...pcrs.keys()]))]);
    const matching = approvals.filter(({ pcrs }) => differencesOf(measured, [pcrs]).length === 0);
    const approval = matching.find((one) => isApprovedBy(key, one));
    if (approval !== undefined) return approval;
    if (matching[0] !== undefined) {
      throw new UnsealRefused(
        "APPROVAL",
        `the approval of release ${matching[0].release} is not signed by the release key that the seal is for`,
      );
    }
    const differences = differencesOf(
      measured,
      approvals.map(({ pcrs }) => pcrs),
    );
    throw refusedFor(differences, "the code that runs is none that the release key has approved");
  }

  return {
    type: "tpm2-release-key",
    prepare: async (tpm) => {
      await approvalOfRunningCode(tpm);
      return { digest };
    },
    satisfy: async (tpm, session) => {
      const { pcrs, signature } = await approvalOfRunningCode(tpm);
      await policyPcr(tpm, session, [...pcrs.keys()]);
      await policyAuthorize(tpm, session, {
        key: area,
        policy: policyOfPcrs(pcrs),
        reference: APPROVAL_REFERENCE,
        signature,
      });
    },
  };
}

/** The PCRs that hold none of the values that would do. */
function differencesOf(measured: PcrValues, accepted: readonly PcrValues[]): PcrDifference[] {
  return [...measured].flatMap(([pcr, value]) => {
    const expected = accepted.flatMap((values) => values.get(pcr) ?? []).map(toHex);
    const got = toHex(value);
    return expected.length === 0 || expected.includes(got) ? [] : [{ pcr, expected: [...new Set(expected)], got }];
  });
}

function refusedFor(differences: readonly PcrDifference[], what: string): UnsealRefused {
  const each = differences.map(({ pcr, expected, got }) => `PCR ${pcr} is ${got}, expected ${expected.join(" or ")}`);
  const which = each.length > 0 ? each.join("; ") : "each PCR holds an approved value, but no approval has all of them";
  return new UnsealRefused("MEASUREMENT", `${what}: ${which}`, differences);
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
