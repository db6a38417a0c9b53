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

/** What the key signs to authorize a policy: the digest of this is the TPM's `aHash`. */
export function authorizationMessage(policy: Uint8Array, reference: Uint8Array): Buffer {
  return Buffer.concat([policy, reference]);
}

function code(command: number): Buffer {
  return new TpmWriter().u32(command).done();
}
