import type { KeyObject } from "node:crypto";

import {
  type Approval,
  certifyCreation,
  type Creation,
  type CreationFacts,
  isApprovedBy,
  parseCreationData,
  pcrDigest,
  type PcrValues,
  TpmError,
  TpmFormatError,
  type TpmObject,
  type TpmSequence,
} from "@agentkeys/lib/tpm2";

import { UnsealRefused } from "./sealer.ts";

/**
 * What shows that code which a seal is for has made what is sealed. A seal alone does not: anybody who can speak to the TPM, before the
 * worker's first start for example, can have it wrap a secret that he knows, for the same code to open.
 */
export interface Origin {
  creation: Creation;
  /** Where there are releases: by which approval the code that made it was one. Releases to come need not know it otherwise. */
  approval?: Approval;
}

/** The code that runs, as the origin of what it makes: the PCRs that tell it, and its approval where there are releases. */
export interface Maker {
  pcrs: readonly number[];
  approval?: Approval;
}

/**
 * Asks the TPM whether it made the object, while its PCRs were as they are for `code`. @throws UnsealRefused ORIGIN
 */
export async function checkOrigin(
  tpm: TpmSequence,
  object: TpmObject,
  { creation }: Origin,
  code: PcrValues | undefined,
): Promise<void> {
  if (code === undefined) throw unknownMaker("no code that this seal is for is named as its maker");
  try {
    await certifyCreation(tpm, object, creation);
    if (!isOf(parseCreationData(creation.data), code)) throw unknownMaker("other code was running when it was made");
  } catch (error) {
    const forged = error instanceof TpmFormatError || (error instanceof TpmError && error.is("ticket"));
    throw forged ? unknownMaker("this TPM says nothing of the kind about its making", error) : error;
  }
}

/** The PCRs of the code that an approval is about, if this key gave it. */
export function codeApprovedBy(key: KeyObject, approval: Approval | undefined): PcrValues | undefined {
  return approval !== undefined && isApprovedBy(key, approval) ? approval.pcrs : undefined;
}

function isOf({ pcrs: selections, pcrDigest: digest }: CreationFacts, code: PcrValues): boolean {
  const [selection] = selections;
  const numbers = [...code.keys()].sort((a, b) => a - b);
  return (
    numbers.length > 0 &&
    selections.length === 1 &&
    selection?.hash === "sha256" &&
    selection.pcrs.join() === numbers.join() &&
    digest.equals(pcrDigest(code))
  );
}

function unknownMaker(why: string, cause?: unknown): UnsealRefused {
  return new UnsealRefused(
    "ORIGIN",
    `the master secret was not made by code that it is sealed for, and somebody may know it: ${why}. Restore the worker's own state file, ` +
      "or begin anew with a new worker",
    [],
    { cause },
  );
}
