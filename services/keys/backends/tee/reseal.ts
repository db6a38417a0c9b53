/**
 * A root key that is sealed anew, for another release key or for one instead of exact PCRs:
 *
 *     opened by the former vault ─► sealed by the new one ─► opened once ─► on the disk ─► read back and opened ─► the older blob is void
 *
 * A process that ends at any arrow leaves a state file that opens: up to the disk by the former vault, from there on by the new one. The last
 * step is taken again at every start.
 */
import { equalSecrets } from "@agentkeys/lib/secret";

import { BootRefused } from "./boot-decision.ts";
import { deriveFor } from "./root-key.ts";
import type { FormerVault, RootKey, RootKeyVault } from "./sealer.ts";
import type { StateFile, TeeState } from "./state-file.ts";

/** The former vault where that is the one that opens the blob. @throws BootRefused STATE_DAMAGED where neither does */
export function formerOf(
  { vault, former }: { vault: RootKeyVault; former?: FormerVault },
  { vault: type, blob }: TeeState,
): FormerVault | undefined {
  const fits = (one: RootKeyVault): boolean => type === one.type && one.isSealedFor?.(blob) !== false;
  if (former !== undefined && !fits(vault) && fits(former.vault)) return former;
  if (type === vault.type || type === former?.vault.type) return undefined;
  const settings = [former?.vault.type, vault.type].flatMap((name) => (name === undefined ? [] : [`"${name}"`]));
  throw new BootRefused(
    "STATE_DAMAGED",
    `the state file was sealed by "${type}", but the settings say ${settings.join(", then ")}`,
  );
}

/** The same root key in a blob of the new vault, which was opened once. Nothing is written, and the old blob is good still. */
export async function sealedAnew(
  vault: RootKeyVault,
  former: FormerVault,
  state: TeeState,
  key: RootKey,
): Promise<TeeState> {
  const blob = await former.reseal(state.blob);
  await mustOpen(vault, blob, key);
  return { ...state, vault: vault.type, blob };
}

/** What is on the disk opens to the same key: only then may the older blob be made void. */
export async function readBack(file: StateFile, vault: RootKeyVault, key: RootKey): Promise<void> {
  const found = await file.read();
  if (found === undefined) throw new Error("the state file is gone right after it was written");
  await mustOpen(vault, (await found.verify(key)).blob, key);
}

async function mustOpen(vault: RootKeyVault, blob: Uint8Array, key: RootKey): Promise<void> {
  const opened = await vault.open(blob);
  try {
    if (!(await isSameKey(key, opened))) throw new Error("the sealed root key opens to another one than was sealed");
  } finally {
    opened.destroy();
  }
}

/** Whether two root keys are one, by what is made of them. */
export async function isSameKey(a: RootKey, b: RootKey): Promise<boolean> {
  const [one, other] = [await deriveFor(a, "state"), await deriveFor(b, "state")];
  const same = equalSecrets(one, other);
  one.fill(0);
  other.fill(0);
  return same;
}
