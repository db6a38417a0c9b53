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
  /** Of this blob, which the code that runs has opened. */
  read(blob: Uint8Array): Promise<Releases>;
  /**
   * Opens the seal no more for security versions before this one, for ever: there is no way back but a new master secret. Nothing where they
   * are retired already. @throws BootRefused CANNOT_RETIRE for one beyond the release that runs, which would never open it again
   */
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
    read,
    retireBefore: async (blob, securityVersion) => {
      const now = await read(blob);
      if (securityVersion > now.running) {
        throw new BootRefused(
          "CANNOT_RETIRE",
          `releases before security version ${securityVersion} were to be retired, but this release has security version ${now.running} ` +
            "and would retire itself: start a later one first",
        );
      }
      if (securityVersion <= now.least) return now;
      const { least, counter } = termsOf(blob);
      await tpm.use(async (t) => {
        const session = await startSession(t, "hmac", await storageRoot(t));
        await advanceCounter(t, NV_RELEASES, counter + BigInt(securityVersion - least), session);
      });
      return read(blob);
    },
  };
}

function termsOf(blob: Uint8Array): ReleaseTerms {
  const { code } = parseTpm2Blob(blob).terms;
  if (!("releases" in code)) throw new Error("the blob was sealed for no release key");
  return code.releases;
}
