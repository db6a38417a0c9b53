/**
 * The boot of a TEE worker, from nothing or from its state file to a root key that may be used:
 *
 *     const booted = await boot(parts);      // throws BootRefused or UnsealRefused: exit with EXIT_UNSEAL_REFUSED
 *     booted.key                             // RootKey: wallets, log key, identity key
 *     booted.state.logHead                   // the log must be at least this long, and consistent with it
 *     await booted.state.advance(head)       // at each checkpoint that is kept: spends one step of the NV counter
 *
 * The rule itself is `boot-decision.ts`. Each boot and each `advance` writes the state first and increments the counter then, so
 * that a process that ends in between is one step ahead of the counter, never behind it.
 */
import type { Clock } from "@agentkeys/lib/clock";

import { type BootFacts, BootRefused, decideBoot, decideRollback } from "./boot-decision.ts";
import { formerOf, isSameKey, readBack, sealedAnew } from "./reseal.ts";
import type { FormerVault, MonotonicCounter, RootKey, RootKeyVault, SealedRootKey } from "./sealer.ts";
import type { LogHead, ReadState, StateFile, TeeState } from "./state-file.ts";

export interface Counters {
  /** Incremented once, when a master secret was made. */
  genesis: MonotonicCounter;
  /** Incremented whenever the state changes. */
  rollback: MonotonicCounter;
}

export interface BootParts {
  file: StateFile;
  vault: RootKeyVault;
  /** What the root key was sealed by before, if it is to be sealed anew by `vault`. */
  former?: FormerVault;
  /** "none" where the platform has none: then neither a wiped nor a restored disk is noticed here, but by the daemons alone. */
  counters: Counters | "none";
  /** Whether a master secret may be made if there is none. Given by a person, once. */
  allowGenesis: boolean;
  /** Makes a new root key, sealed. Absent: as the vault does by itself. */
  create?: () => Promise<SealedRootKey>;
  /** Brings the root key back from its backup, and seals it. Given by a person, once; present only where there is a backup. */
  recover?: () => Promise<SealedRootKey>;
  /** The value of the NV counter at which an older disk is accepted, once. */
  acceptRollback?: bigint;
  /** Names this boot, for people. */
  bootId: string;
  clock: Clock;
}

export interface Booted {
  /** The caller destroys it when the worker ends. */
  key: RootKey;
  state: StateKeeper;
  /** The sealed root key, as it is on the disk now. */
  blob: Uint8Array;
  how: "genesis" | "recovered" | "opened" | "rollback-accepted";
  /** It was opened by the former vault, and no older copy of the blob opens any more. */
  resealed: boolean;
}

/** The state on the disk and the counter in the TPM, moved on together. */
export interface StateKeeper {
  /** What the log had reached when the state was last written. */
  readonly logHead: LogHead | undefined;
  /** The NV counter, for the claims; absent where the platform has none. */
  readonly counter: bigint | undefined;
  /** Keeps a newer head. One after the other; on failure the older state is good still. */
  advance(head: LogHead): Promise<void>;
  /** Keeps the head of a log that an operator accepted in the place of another one, were it shorter. */
  replace(head: LogHead): Promise<void>;
}

/** @throws BootRefused, UnsealRefused */
export async function boot(parts: BootParts): Promise<Booted> {
  const found = await parts.file.read();
  const { counters, allowGenesis, vault, create = () => vault.create(), recover } = parts;
  const genesis = counters === "none" ? "none" : (await counters.genesis.read()) === undefined ? "untouched" : "used";
  const stateFile = found === undefined ? "absent" : "present";
  const decision = decideBoot({ stateFile, genesis, allowGenesis, recover: recover !== undefined });
  if (found !== undefined) return openMaster(parts, found, genesis === "untouched");
  if (decision !== "recover" || recover === undefined) return makeMaster(parts, "genesis", create, genesis);
  return makeMaster(parts, "recovered", recover, genesis);
}

/** Sealed, on the disk, read back and opened: only then is it used, and the genesis counter says that it exists. */
async function makeMaster(
  parts: BootParts,
  how: "genesis" | "recovered",
  make: () => Promise<SealedRootKey>,
  genesis: BootFacts["genesis"],
): Promise<Booted> {
  const { file, vault, counters, bootId, clock } = parts;
  const counter =
    counters === "none" ? undefined : ((await counters.rollback.read()) ?? (await counters.rollback.increment()));
  const { blob, key: made } = await make();
  let key: RootKey | undefined;
  try {
    const written: TeeState = {
      vault: vault.type,
      blob,
      createdAt: new Date(clock()),
      createdBootId: bootId,
      ...(counter !== undefined && { counter }),
    };
    await file.write(written, made);
    const found = await file.read();
    if (found === undefined) throw new Error("the state file is gone right after it was written");
    key = await vault.open(found.unverified.blob);
    const state = await found.verify(key);
    if (!(await isSameKey(made, key))) throw new Error("the sealed root key opens to another one than was sealed");
    if (counters !== "none" && genesis === "untouched") await counters.genesis.increment();
    return { key, state: keeper(parts, state, key), blob: state.blob, how, resealed: false };
  } catch (error) {
    key?.destroy();
    throw error;
  } finally {
    made.destroy();
  }
}

async function openMaster(parts: BootParts, found: ReadState, genesisUnfinished: boolean): Promise<Booted> {
  const { file, vault, counters, acceptRollback } = parts;
  const former = formerOf(parts, found.unverified);
  const key = await (former?.vault ?? vault).open(found.unverified.blob);
  try {
    const state = await found.verify(key);
    let how: Booted["how"] = "opened";
    let next = state;
    if (counters === "none") {
      if (state.counter !== undefined) {
        throw new BootRefused("ROLLED_BACK", "the state file goes with an NV counter, but the settings name none");
      }
      if (former !== undefined) {
        next = await sealedAnew(vault, former, state, key);
        await file.write(next, key);
      }
    } else {
      const nvCounter = await counters.rollback.read();
      if (state.counter === undefined) {
        throw new BootRefused("STATE_DAMAGED", "the state file goes with no NV counter, but the settings name one");
      }
      const verdict = decideRollback({ stateCounter: state.counter, nvCounter, acceptRollback });
      if (verdict === "accepted") how = "rollback-accepted";
      const sealed = former === undefined ? state : await sealedAnew(vault, former, state, key);
      const moved = { ...sealed, counter: (nvCounter ?? (await counters.rollback.increment())) + 1n };
      await moveOn(file, counters, moved, key);
      // The process that made it ended before it could say so.
      if (genesisUnfinished) await counters.genesis.increment();
      next = moved;
    }
    if (former !== undefined) await readBack(file, vault, key);
    // Also where the process that sealed it ended before this.
    await vault.retireOlder?.(next.blob);
    return { key, state: keeper(parts, next, key), blob: next.blob, how, resealed: former !== undefined };
  } catch (error) {
    key.destroy();
    throw error;
  }
}

function keeper({ file, counters }: BootParts, initial: TeeState, key: RootKey): StateKeeper {
  let state = initial;
  let last: Promise<unknown> = Promise.resolve();

  async function keep(logHead: LogHead): Promise<void> {
    if (counters === "none") {
      const next = { ...state, logHead };
      await file.write(next, key);
      state = next;
      return;
    }
    const nvCounter = await counters.rollback.read();
    if (nvCounter === undefined || state.counter === undefined || !isStep(state.counter, nvCounter)) {
      throw new Error("the NV counter was moved by something else than this process");
    }
    const next = { ...state, logHead, counter: nvCounter + 1n };
    await moveOn(file, counters, next, key);
    state = next;
  }

  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };

  return {
    get logHead() {
      return state.logHead;
    },
    get counter() {
      return state.counter;
    },
    advance: (head) =>
      inTurn(() => {
        if (state.logHead && head.size < state.logHead.size) throw new RangeError("the log became shorter");
        return keep(head);
      }),
    replace: (head) => inTurn(() => keep(head)),
  };
}

/** A state that was written, but whose increment failed, is one ahead. */
function isStep(stateCounter: bigint, nvCounter: bigint): boolean {
  return stateCounter === nvCounter || stateCounter === nvCounter + 1n;
}

async function moveOn(
  file: StateFile,
  counters: Counters,
  state: TeeState & { counter: bigint },
  key: RootKey,
): Promise<void> {
  await file.write(state, key);
  const counter = await counters.rollback.increment();
  if (counter !== state.counter) throw new Error("the NV counter was moved by something else than this process");
}
