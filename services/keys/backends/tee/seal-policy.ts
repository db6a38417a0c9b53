import type { KeyObject } from "node:crypto";

import {
  type Alternatives,
  anyOf,
  type Approval,
  approvalReference,
  counterName,
  isApprovedBy,
  nameOf,
  type PcrValues,
  policyAuthorize,
  policyCounterAtMost,
  policyOfAuthorization,
  policyOfPcrs,
  policyOr,
  policyPcr,
  policyWithCounterAtMost,
  readPcrs,
  template,
  type TpmSequence,
  type TpmSession,
} from "@agentkeys/lib/tpm2";

import { NV_RELEASES, startedCounter } from "./nv.ts";
import { codeApprovedBy, type Maker } from "./origin.ts";
import { type PcrDifference, UnsealRefused } from "./sealer.ts";

/** What a seal asks of code, beside the policy itself. Kept with the blob; that it belongs to it shows by the policy's digest. */
export type CodeTerms = { pcrs: PcrValues } | { releases: ReleaseTerms };

/** Where security versions and the TPM's counter of retired ones met: at this value of the counter, this version was the lowest to open. */
export interface ReleaseTerms {
  least: number;
  counter: bigint;
}

/** For which code a TPM opens what it sealed. */
export interface SealPolicy {
  /** Becomes part of the vault's type, which stands in the state file. */
  readonly type: string;
  /**
   * The terms for something new, in an HMAC session. Refuses when the code that runs now would not be let in by them: what it seals it has
   * to be able to open. What was retired under the terms that these replace stays retired. @throws UnsealRefused
   */
  prepare(tpm: TpmSequence, session: TpmSession, replaced?: CodeTerms): Promise<CodeTerms>;
  /** The digest of the policy under these terms; `undefined` for terms of another kind of policy. */
  digestOf(terms: CodeTerms): Buffer | undefined;
  /** Makes the session satisfy the policy. @throws UnsealRefused MEASUREMENT, APPROVAL, RETIRED; TpmError `policy` for a retired release */
  satisfy(tpm: TpmSequence, session: TpmSession, terms: CodeTerms): Promise<void>;
  /** The code that runs, as the maker of what it seals. @throws UnsealRefused */
  maker(tpm: TpmSequence): Promise<Maker>;
  /** The PCR values of the code that made something sealed under these terms; `undefined` where it was no code that the policy lets in. */
  codeOf(terms: CodeTerms, approval: Approval | undefined): PcrValues | undefined;
  /**
   * Where there are releases: the approval by which the code that runs opens what was sealed under these terms, as far as is known without
   * the counter. @throws UnsealRefused
   */
  approvalOfRunningCode?(tpm: TpmSequence, terms?: ReleaseTerms): Promise<Approval>;
}

/** Exactly the code that sealed it: another release finds it closed. */
export function exactPcrs(pcrs: readonly number[]): SealPolicy {
  if (pcrs.length === 0) throw new RangeError("a seal over no PCR opens for any code");
  const numbers = [...new Set(pcrs)].sort((a, b) => a - b).join();
  /** A seal to others, such as one that every system leaves at zero, is not for this code. */
  const valuesIn = (terms: CodeTerms): PcrValues | undefined =>
    "pcrs" in terms && [...terms.pcrs.keys()].sort((a, b) => a - b).join() === numbers ? terms.pcrs : undefined;
  return {
    type: "tpm2-pcr",
    prepare: async (tpm) => ({ pcrs: await readPcrs(tpm, pcrs) }),
    digestOf: (terms) => {
      const values = valuesIn(terms);
      return values && policyOfPcrs(values);
    },
    maker: () => Promise.resolve({ pcrs }),
    codeOf: valuesIn,
    satisfy: async (tpm, session, terms) => {
      if (!("pcrs" in terms)) throw new UnsealRefused("BLOB", "the blob does not say to which PCRs it was sealed");
      const { pcrs: sealedTo } = terms;
      const measured = await readPcrs(tpm, [...sealedTo.keys()]);
      const differences = differencesOf(measured, [sealedTo]);
      if (differences.length > 0) throw refusedFor(differences, "the master secret was sealed to other code");
      await policyPcr(tpm, session, [...sealedTo.keys()]);
    },
  };
}

/** A policy under which releases can be retired. */
export type ReleaseKeyPolicy = SealPolicy & Required<Pick<SealPolicy, "approvalOfRunningCode">>;

export function isReleaseKey(policy: SealPolicy): policy is ReleaseKeyPolicy {
  return policy.approvalOfRunningCode !== undefined;
}

/** How many security versions a seal knows: what PolicyOR makes of three levels. Those below the first and beyond the last do not open it. */
export const SECURITY_VERSIONS = 512;

/**
 * Whatever code a release key has approved: a new release opens what the old one sealed, and nothing else does. Nor does an old one any
 * more once its security version is retired. For each version that the seal knows, its policy has an alternative
 *
 *     PolicyPCR                                     the code, in the approval
 *     PolicyAuthorize(key, "… v2 VERSION")          the approval of that code as this version
 *     PolicyNV(counter <= COUNTER + VERSION - LEAST)
 *     PolicyOR, three times                         one of the versions
 *
 * The counter is one of the TPM's (NT = COUNTER), since that is the only thing in a TPM that nobody can lower: what is written in an
 * index of another kind is gone when the owner deletes the index and makes it anew, and whoever may write its first value may write an
 * old one; a counter that is made anew starts above all that were. The price is that its value is another on each machine. So the
 * comparison cannot be in what the key signs, which is the same for all: the key signs the version, and the seal knows what that is here.
 */
export function releaseKey(key: KeyObject, approvals: readonly Approval[]): ReleaseKeyPolicy {
  const area = template.verificationKey(key);
  const name = nameOf(area);
  let known: { terms: ReleaseTerms; any: Alternatives } | undefined;

  /** Half a thousand policies: not anew for every use of a key that stays in the TPM. */
  function alternatives(terms: ReleaseTerms): Alternatives {
    if (known?.terms.least !== terms.least || known.terms.counter !== terms.counter) {
      known = { terms, any: releasesFrom(name, terms) };
    }
    return known.any;
  }

  async function approvalOfRunningCode(tpm: TpmSequence, terms?: ReleaseTerms): Promise<Approval> {
    const measured = await readPcrs(tpm, [...new Set(approvals.flatMap(({ pcrs }) => [...pcrs.keys()]))]);
    const matching = approvals.filter(({ pcrs }) => differencesOf(measured, [pcrs]).length === 0);
    const [newest, ...others] = matching.filter((one) => isApprovedBy(key, one)).sort(bySecurityVersion);
    if (newest !== undefined) {
      if (terms === undefined) return newest;
      const inReach = [newest, ...others].find(
        ({ securityVersion }) => securityVersion < terms.least + SECURITY_VERSIONS,
      );
      if (inReach === undefined) throw outOfReach(newest, terms);
      if (inReach.securityVersion < terms.least) throw retired(inReach, terms.least);
      return inReach;
    }
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
    approvalOfRunningCode,
    prepare: async (tpm, session, replaced) => {
      const running = await approvalOfRunningCode(tpm);
      const counter = await startedCounter(tpm, NV_RELEASES, session);
      const before = replaced !== undefined && "releases" in replaced ? replaced.releases : undefined;
      // Without any before it, whoever seals is the first: nothing older has ever opened it.
      const least = before === undefined ? running.securityVersion : leastAt(before, counter);
      if (running.securityVersion < least) throw retired(running, least);
      return { releases: { least, counter } };
    },
    digestOf: (terms) => ("releases" in terms ? alternatives(terms.releases).digest : undefined),
    maker: async (tpm) => {
      const approval = await approvalOfRunningCode(tpm);
      return { pcrs: [...approval.pcrs.keys()], approval };
    },
    codeOf: (_terms, approval) => codeApprovedBy(key, approval),
    satisfy: async (tpm, session, terms) => {
      if (!("releases" in terms)) throw new UnsealRefused("BLOB", "the blob was sealed for no release key");
      const { least, counter } = terms.releases;
      const { pcrs, securityVersion, signature } = await approvalOfRunningCode(tpm, terms.releases);
      await policyPcr(tpm, session, [...pcrs.keys()]);
      await policyAuthorize(tpm, session, {
        key: area,
        policy: policyOfPcrs(pcrs),
        reference: approvalReference(securityVersion),
        signature,
      });
      const place = securityVersion - least;
      await policyCounterAtMost(tpm, session, NV_RELEASES, counter + BigInt(place));
      for (const step of alternatives(terms.releases).steps(place)) await policyOr(tpm, session, step);
    },
  };
}

/** The policies of all releases of a key, by how far their security version is from the lowest. */
export function releasesFrom(keyName: Uint8Array, { least, counter }: ReleaseTerms): Alternatives {
  const index = counterName(NV_RELEASES);
  return anyOf(
    Array.from({ length: SECURITY_VERSIONS }, (_, place) => {
      const approved = policyOfAuthorization(keyName, approvalReference(least + place));
      return policyWithCounterAtMost(approved, index, counter + BigInt(place));
    }),
  );
}

/** The lowest security version that opens a seal of these terms, with the counter at this value. */
export function leastAt({ least, counter }: ReleaseTerms, value: bigint): number {
  return least + Number(value - counter);
}

export function retired({ release, securityVersion }: Approval, least: number): UnsealRefused {
  return new UnsealRefused(
    "RETIRED",
    `release ${release} has security version ${securityVersion}, which was retired: the master secret opens for ${least} and later`,
  );
}

function outOfReach({ release, securityVersion }: Approval, { least }: ReleaseTerms): UnsealRefused {
  return new UnsealRefused(
    "APPROVAL",
    `release ${release} has security version ${securityVersion}, and the seal knows those from ${least} to ` +
      `${least + SECURITY_VERSIONS - 1}: have the release approved with one of them`,
  );
}

function bySecurityVersion(a: Approval, b: Approval): number {
  return b.securityVersion - a.securityVersion;
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
