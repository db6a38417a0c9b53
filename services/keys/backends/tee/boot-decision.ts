/**
 * The rule of when a master secret may be made, as a pure function:
 *
 *     state file   NV genesis counter   --allow-genesis   →
 *     absent       untouched            yes               genesis
 *     absent       untouched            no                refuse  GENESIS_NOT_ALLOWED
 *     absent       used                 any               refuse  STATE_MISSING: a wiped disk mints no new wallets
 *     present      any                  any               open; never anything else
 *
 * A worker that is set up with a backup, and was told to recover from it, does that where there is no state file, whatever the counter
 * says: what comes of it is the master secret that there was, or nothing.
 *
 * and of whether the disk is the newest one:
 *
 *     the state's counter   →
 *     = NV counter          current
 *     = NV counter + 1      current: the process ended between writing and incrementing
 *     anything else         refuse  ROLLED_BACK, unless an operator accepts exactly this value of the NV counter
 */
export type BootRefusal =
  | "GENESIS_NOT_ALLOWED"
  | "STATE_MISSING"
  /** The state file is not what this worker wrote, or its MAC is not by the root key. */
  | "STATE_DAMAGED"
  /** The disk is older than the TPM remembers, or newer than it can be. */
  | "ROLLED_BACK"
  /** Another worker that runs uses the folder. */
  | "IN_USE"
  /** There is no master secret yet, and it may not be used before every custodian has its share. */
  | "BACKUP_INCOMPLETE"
  /** The custodians did not give back what they were given. */
  | "RECOVERY_REFUSED"
  /** The machine makes no evidence: no daemon would believe the worker. */
  | "NO_EVIDENCE"
  /** An operator asked to retire the release that runs. */
  | "CANNOT_RETIRE";

/** The worker does not serve. Nothing was changed. The process ends with `EXIT_UNSEAL_REFUSED`. */
export class BootRefused extends Error {
  override readonly name = "BootRefused";

  constructor(
    readonly refusal: BootRefusal,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** What is known before anything is opened. */
export interface BootFacts {
  stateFile: "absent" | "present";
  /** The NV genesis counter; "none" where the platform has no counters at all. */
  genesis: "untouched" | "used" | "none";
  allowGenesis: boolean;
  recover: boolean;
}

/** @throws BootRefused */
export function decideBoot({ stateFile, genesis, allowGenesis, recover }: BootFacts): "genesis" | "recover" | "open" {
  if (stateFile === "present") return "open";
  if (recover) return "recover";
  if (genesis === "used") {
    throw new BootRefused(
      "STATE_MISSING",
      "there is no state file, but this TPM's genesis counter says that a master secret was made here: restore the state file " +
        "from a backup. A new master secret would be other wallets, so none is made",
    );
  }
  if (!allowGenesis) {
    throw new BootRefused(
      "GENESIS_NOT_ALLOWED",
      "there is no state file; if this is the first start of a new worker, start it once with --allow-genesis",
    );
  }
  return "genesis";
}

/** What the disk says against what the TPM says. */
export interface RollbackFacts {
  /** In the authenticated state. */
  stateCounter: bigint;
  /** In NV; `undefined`: never incremented. */
  nvCounter: bigint | undefined;
  /** The value of the NV counter for which an operator accepts an older disk, once: afterwards the counter is another. */
  acceptRollback: bigint | undefined;
}

/** @throws BootRefused ROLLED_BACK */
export function decideRollback(facts: RollbackFacts): "current" | "accepted" {
  const { stateCounter, nvCounter, acceptRollback } = facts;
  if (nvCounter !== undefined && (stateCounter === nvCounter || stateCounter === nvCounter + 1n)) return "current";
  const now = nvCounter ?? 0n;
  if (acceptRollback === now) return "accepted";
  throw new BootRefused(
    "ROLLED_BACK",
    `the state file is of counter ${stateCounter}, but the TPM's counter is ${nvCounter === undefined ? "unset" : nvCounter}: ` +
      "the disk was restored from a backup, or is another worker's. Signatures recorded since are missing from it. " +
      `If you know why, accept it once with --accept-rollback=${now}`,
  );
}
