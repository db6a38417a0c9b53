import { startSession, storageRoot, type Tpm } from "@agentkeys/lib/tpm2";

import { BootRefused } from "./boot-decision.ts";
import { advanceCounter, NV_RELEASES, startedCounter } from "./nv.ts";
import { leastAt, type ReleaseKeyPolicy, type ReleaseTerms } from "./seal-policy.ts";
import { parseTpm2Blob } from "./tpm2-blob.ts";

/** Which releases a seal opens for, of those that the release key approved. */
export interface Releases {
  /** The security version of the release that runs. */
  running: number;
  /** The lowest that opens the seal. */
  least: number;
}

/** Takes approvals back, by their security version. */
export interface ReleaseFloor {
  /** The security version of the release that runs, before anything is opened. @throws UnsealRefused where it is none */
  running(): Promise<number>;
  /** Of this blob, which the code that runs has opened. */
  read(blob: Uint8Array): Promise<Releases>;
  /** Opens the seal no more for security versions before this one, for ever: there is no way back but a new master secret. */
  retireBefore(blob: Uint8Array, securityVersion: number): Promise<Releases>;
}

/** The floor of what was sealed under a release key in this TPM: the counter that is in its policy. */
export function releaseFloor({ tpm, policy }: { tpm: Tpm; policy: ReleaseKeyPolicy }): ReleaseFloor {
  async function read(blob: Uint8Array): Promise<Releases> {
    const terms = termsOf(blob);
    return tpm.use(async (t) => {
      const { securityVersion } = await policy.approvalOfRunningCode(t, terms);
      const session = await startSession(t, "hmac", await storageRoot(t));
      return { running: securityVersion, least: leastAt(terms, await startedCounter(t, NV_RELEASES, session)) };
    });
  }

  return {
    running: async () => (await tpm.use((t) => policy.approvalOfRunningCode(t))).securityVersion,
    read,
    retireBefore: async (blob, securityVersion) => {
      refuseBeyond(securityVersion, (await read(blob)).running);
      const { least, counter } = termsOf(blob);
      await tpm.use(async (t) => {
        const session = await startSession(t, "hmac", await storageRoot(t));
        await advanceCounter(t, NV_RELEASES, counter + BigInt(securityVersion - least), session);
      });
      return read(blob);
    },
  };
}

/** The releases of a worker while it starts and runs. */
export interface RunningReleases {
  /** As it is now; absent where the seal is for no release key. */
  readonly now: Releases | undefined;
  /** Does what the operator asked for. To be called when the start has come to its end: what is retired cannot be gone back to. */
  retire(): Promise<void>;
}

/**
 * Refuses at once, before anything is changed, what could not be done later. @throws BootRefused CANNOT_RETIRE for a security version beyond
 * the release that runs, which would never open the seal again, and where there are no releases
 */
export async function mayRetireBefore(floor: ReleaseFloor | undefined, securityVersion: number): Promise<void> {
  refuseBeyond(securityVersion, await floor?.running());
}

/** Reads which releases open the seal, and has them retired later, where an operator asked for it. */
export async function runningReleases(parts: {
  floor: ReleaseFloor | undefined;
  blob: Uint8Array;
  retireBefore: number | undefined;
}): Promise<RunningReleases> {
  const { floor, blob, retireBefore } = parts;
  let now = await floor?.read(blob);
  return {
    get now() {
      return now;
    },
    retire: async () => {
      if (floor !== undefined && retireBefore !== undefined) now = await floor.retireBefore(blob, retireBefore);
    },
  };
}

function refuseBeyond(securityVersion: number, running: number | undefined): void {
  if (running !== undefined && securityVersion <= running) return;
  throw new BootRefused(
    "CANNOT_RETIRE",
    running === undefined
      ? "releases were to be retired, but the master secret is sealed for no release key"
      : `releases before security version ${securityVersion} were to be retired, but this release has security version ` +
          `${running} and would retire itself: start a later one first`,
  );
}

function termsOf(blob: Uint8Array): ReleaseTerms {
  const { code } = parseTpm2Blob(blob).terms;
  if (!("releases" in code)) throw new Error("the blob was sealed for no release key");
  return code.releases;
}
