import { decodeJwt } from "jose";

import { identityKeyName } from "@agentkeys/lib/evidence/claims";
import { keyFingerprint } from "@agentkeys/lib/evidence/release-key";
import { TicketRefused, verifyRecoveryTicket } from "@agentkeys/lib/evidence/recovery-ticket";

import { ed25519KeyFor, memoryRootKey } from "../root-key.ts";
import { BackupError } from "./backup-error.ts";
import { type CallerParts, withCustodian } from "./custodian-client.ts";
import { rawPublicKey } from "@agentkeys/lib/evidence/ed25519";
import { backupIdOf, type Manifest, readManifest, type SignedManifest } from "./manifest.ts";
import { recoverDigest } from "./peer-evidence.ts";
import type { BackupPlan, Custodian } from "./plan.ts";
import { combineShares, shareDigest } from "./shares.ts";

export interface RecoveryParts extends CallerParts {
  plan: BackupPlan;
  signer: string;
  /** The ticket's compact JWS. */
  ticket: string;
  /** Is told of each custodian that gave nothing that could be used. */
  warn: (why: string) => void;
}

/** A master secret that is the one that was backed up: proven by what is derived from it. */
export interface Recovered {
  /** 32 bytes, which the caller zeroes. */
  masterSecret: Buffer;
  manifest: SignedManifest;
}

/**
 * Asks every custodian of the plan for its share, takes those that the manifest names, and combines as many as it takes. The ticket names
 * the manifest by its hash, and the manifest each share: none of them can be exchanged, and who gives out a wrong one is found out.
 * @throws BackupError where it comes to nothing: then nothing is left in memory
 */
export async function recoverMasterSecret(parts: RecoveryParts): Promise<Recovered> {
  const { plan, warn } = parts;
  const backupId = await backupIdIn(parts);
  const outcomes = await Promise.allSettled(
    plan.custodians.map((custodian) => askForShare(custodian, backupId, parts)),
  );
  const given = outcomes.flatMap((outcome) => {
    if (outcome.status === "fulfilled") return [outcome.value];
    warn(outcome.reason instanceof BackupError ? outcome.reason.message : "a custodian could not be asked");
    return [];
  });
  try {
    const [first] = given;
    const threshold = first?.manifest.threshold ?? plan.threshold;
    if (first === undefined || given.length < threshold) {
      throw new BackupError(`${given.length} custodians gave their share, and it takes ${threshold}`);
    }
    const shares = given.slice(0, threshold).map(({ share }) => share);
    return { masterSecret: await combined(shares, first.manifest), manifest: first.signed };
  } finally {
    for (const { share } of given) share.fill(0);
  }
}

/** Verified here too: a ticket that no custodian would take need not be shown to any. Its time is for the custodians' clocks. */
async function backupIdIn({ ticket, plan }: RecoveryParts): Promise<string> {
  try {
    const at = 1000 * (decodeJwt(ticket).iat ?? 0);
    return (await verifyRecoveryTicket(ticket, plan.recoveryKey, { at, clockSkewMs: 0 })).backupId;
  } catch (cause) {
    throw new BackupError(cause instanceof TicketRefused ? cause.message : "the recovery ticket is none", { cause });
  }
}

interface GivenShare {
  signed: SignedManifest;
  manifest: Manifest;
  share: Uint8Array;
}

async function askForShare(custodian: Custodian, backupId: string, parts: RecoveryParts): Promise<GivenShare> {
  const { ticket, plan, signer } = parts;
  return await withCustodian(custodian, parts, async ({ client, vouch }) => {
    const peer = await vouch("recover", recoverDigest(backupId, ticket));
    const answer = await client.recoverShare({ backupId, ticket, peer });
    const { share, index } = answer;
    try {
      const signed = { bytes: answer.manifest, signature: answer.manifestSignature };
      if (backupIdOf(signed) !== backupId) throw new BackupError("its share is of another backup");
      const manifest = readManifest(signed);
      if (manifest.signer !== signer) throw new BackupError(`the backup is of ${JSON.stringify(manifest.signer)}`);
      if (manifest.recoveryKeySha256 !== keyFingerprint(plan.recoveryKey)) {
        throw new BackupError("the backup was made for another recovery key");
      }
      const isTheirs = manifest.custodians[index] === custodian.identityKey;
      if (!isTheirs || manifest.shareSha256[index] !== shareDigest(share)) {
        throw new BackupError("what it gave is not the share that it was given: it was changed, or the custodian lies");
      }
      return { signed, manifest, share };
    } catch (error) {
      share.fill(0);
      throw error;
    }
  });
}

/** Only what has the identity key of the manifest is the master secret that it was made of. */
async function combined(shares: readonly Uint8Array[], { identityKey }: Manifest): Promise<Buffer> {
  const masterSecret = await combineShares(shares);
  // It is taken over and zeroed by the root key: from a copy.
  const key = memoryRootKey(Buffer.from(masterSecret));
  try {
    if (identityKeyName(rawPublicKey(await ed25519KeyFor(key, "identity"))) === identityKey) return masterSecret;
  } finally {
    key.destroy();
  }
  masterSecret.fill(0);
  throw new BackupError("the shares do not lead to the master secret that was backed up");
}
