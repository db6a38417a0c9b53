/**
 * Policies computed without a TPM: a policy session starts as 32 zero bytes, and each step hashes itself on to what was there
 * (Part 1, section 19.7). So a build can say in advance what a seal will ask for.
 */
import { commandCode } from "./constants.ts";
import { digest } from "./hash.ts";
import { TpmWriter } from "./marshal.ts";
import { ascending, pcrDigest, pcrSelection, type PcrValues } from "./pcr.ts";

const START = new Uint8Array(32);

/** TPM2_PolicyPCR as the first step: these PCRs hold these values. */
export function policyOfPcrs(values: PcrValues): Buffer {
  const selection = pcrSelection(ascending(values).map(([pcr]) => pcr));
  return digest("sha256", START, code(commandCode.policyPcr), selection, pcrDigest(values));
}

/**
 * TPM2_PolicyAuthorize as the last step: any policy that the key of this name signed for this reference. What came before it in the
 * session has to be that policy, and leaves no trace in the digest.
 */
export function policyOfAuthorization(keyName: Uint8Array, reference: Uint8Array): Buffer {
  return digest("sha256", digest("sha256", START, code(commandCode.policyAuthorize), keyName), reference);
}

/** TPM2_PolicyNV after `policy`: the counter of this name is not beyond the limit (UINT64, `<=`). */
export function policyWithCounterAtMost(policy: Uint8Array, counterName: Uint8Array, limit: bigint): Buffer {
  const asked = digest("sha256", operandOf(limit), new TpmWriter().u16(0).u16(UNSIGNED_AT_MOST).done());
  return digest("sha256", policy, code(commandCode.policyNv), asked, counterName);
}

/** TPM_EO_UNSIGNED_LE (Part 2, section 6.8.2). */
export const UNSIGNED_AT_MOST = 0x0009;

/** A counter's value as an operand: eight bytes, the highest first. */
export function operandOf(value: bigint): Buffer {
  return new TpmWriter().u64(value).done();
}

/** A policy that any one of several meets. */
export interface Alternatives {
  digest: Buffer;
  /** The lists to give TPM2_PolicyOR, one after the other, once the session's policy is the one at this place. */
  steps(place: number): readonly (readonly Buffer[])[];
}

/** As many as one TPM2_PolicyOR takes (Part 2, section 10.9.3); it takes no less than two. */
const AT_A_TIME = 8;

/** TPM2_PolicyOR, level upon level: each list becomes one policy of the next. @throws RangeError unless they are a power of eight */
export function anyOf(policies: readonly Buffer[]): Alternatives {
  const levels: (readonly Buffer[])[][] = [];
  let left = policies;
  while (left.length >= AT_A_TIME) {
    const lists = Array.from({ length: left.length / AT_A_TIME }, (_, at) =>
      left.slice(at * AT_A_TIME, (at + 1) * AT_A_TIME),
    );
    levels.push(lists);
    left = lists.map((list) => digest("sha256", START, code(commandCode.policyOr), ...list));
  }
  const [whole] = left;
  if (whole === undefined || left.length > 1 || policies.length !== AT_A_TIME ** levels.length || levels.length === 0) {
    throw new RangeError("alternatives are 8, 64, 512 and so on");
  }
  return {
    digest: whole,
    steps: (place) => levels.map((lists, level) => lists[Math.floor(place / AT_A_TIME ** (level + 1))] ?? []),
  };
}

/** What the key signs to authorize a policy: the digest of this is the TPM's `aHash`. */
export function authorizationMessage(policy: Uint8Array, reference: Uint8Array): Buffer {
  return Buffer.concat([policy, reference]);
}

function code(command: number): Buffer {
  return new TpmWriter().u32(command).done();
}
