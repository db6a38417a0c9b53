import type { KeyObject } from "node:crypto";

import { identityKeyName } from "@agentkeys/lib/evidence/claims";
import { keyFingerprint } from "@agentkeys/lib/evidence/release-key";

import { BackupError } from "./backup-error.ts";
import { type CallerParts, withCustodian } from "./custodian-client.ts";
import { rawPublicKey } from "@agentkeys/lib/evidence/ed25519";
import { backupIdOf, type SignedManifest, signManifest } from "./manifest.ts";
import { depositDigest } from "./peer-evidence.ts";
import type { BackupPlan, Custodian } from "./plan.ts";
import { checkReceipt, type SignedReceipt } from "./receipt.ts";
import { shareDigest, splitSecret } from "./shares.ts";

/** A backup that every custodian of the plan has confirmed. */
export interface Backup {
  manifest: SignedManifest;
  /** In the order of the shares. */
  receipts: readonly SignedReceipt[];
}

export interface DepositParts extends CallerParts {
  plan: BackupPlan;
  /** What the worker is called. */
  signer: string;
  /** The key that is derived from this master secret. */
  identityKey: KeyObject;
}

/** A split that may be on its way to its custodians still. */
export interface PreparedBackup {
  /** Gives each custodian its share that has not confirmed it yet. @throws BackupError that names every one that does not take it */
  deposit(): Promise<Backup>;
  /** Zeroes the shares. */
  destroy(): void;
}

/**
 * Splits a master secret, which stays the caller's to zero. Each time it is another split, with another name: what an attempt that ended
 * half-way has left behind fits to no other one, and is of no use by itself.
 */
export async function prepareBackup(masterSecret: Uint8Array, parts: DepositParts): Promise<PreparedBackup> {
  const { plan, signer, identityKey, clock } = parts;
  const { threshold, custodians, recoveryKey } = plan;
  const shares = await splitSecret(masterSecret, { threshold, shares: custodians.length });
  const manifest = signManifest(
    {
      ...{ signer, threshold },
      identityKey: identityKeyName(rawPublicKey(identityKey)),
      custodians: custodians.map((each) => each.identityKey),
      shareSha256: shares.map(shareDigest),
      recoveryKeySha256: keyFingerprint(recoveryKey),
      madeAt: Math.floor(clock() / 1000) * 1000,
    },
    identityKey,
  );
  const confirmed = new Map<number, SignedReceipt>();
  const give = async (custodian: Custodian, index: number): Promise<string | undefined> => {
    const share = shares[index];
    if (share === undefined || confirmed.has(index)) return undefined;
    try {
      confirmed.set(index, await deposit(custodian, { manifest, index, share }, parts));
      return undefined;
    } catch (error) {
      if (error instanceof BackupError) return error.message;
      throw error;
    }
  };
  return {
    deposit: async () => {
      const failed = (await Promise.all(custodians.map(give))).filter((why) => why !== undefined);
      const receipts = custodians.flatMap((_, index) => confirmed.get(index) ?? []);
      if (failed.length === 0) return { manifest, receipts };
      const count = `${failed.length} of ${custodians.length} custodians did not take a share`;
      throw new BackupError(`${count}: ${failed.join("; ")}`);
    },
    destroy: () => {
      for (const share of shares) share.fill(0);
    },
  };
}

async function deposit(
  custodian: Custodian,
  { manifest, index, share }: { manifest: SignedManifest; index: number; share: Uint8Array },
  parts: DepositParts,
): Promise<SignedReceipt> {
  const backupId = backupIdOf(manifest);
  return await withCustodian(custodian, parts, async ({ client, vouch }) => {
    const peer = await vouch("deposit", depositDigest(backupId, index, share));
    const { receipt, signature } = await client.depositShare({
      ...{ manifest: manifest.bytes, manifestSignature: manifest.signature, index, share, peer },
    });
    const signed = { bytes: receipt, signature };
    checkReceipt(signed, { backupId, index, custodian: custodian.identityKey });
    return signed;
  });
}
