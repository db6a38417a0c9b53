import type { KeyObject } from "node:crypto";

import type { Clock } from "@agentkeys/lib/clock";
import { PolicyRefused } from "@agentkeys/lib/attested/policy-refused";
import { AttestationError } from "@agentkeys/lib/evidence";
import { identityKeyName } from "@agentkeys/lib/evidence/claims";
import { type RecoveryTicket, TicketRefused, verifyRecoveryTicket } from "@agentkeys/lib/evidence/recovery-ticket";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { Logger } from "@agentkeys/lib/log";

import { BackupError } from "./backup-error.ts";
import type { Challenges } from "./challenge.ts";
import type { CustodyStore, SealedShare, SharePlace } from "./custody-store.ts";
import { rawPublicKey } from "@agentkeys/lib/evidence/ed25519";
import { backupIdOf, type Manifest, readManifest, type SignedManifest } from "./manifest.ts";
import {
  appraisePeer,
  depositDigest,
  type PeerEvidence,
  type PeerExpected,
  type PeerPolicy,
  recoverDigest,
} from "./peer-evidence.ts";
import type { CustodyOwner } from "./plan.ts";
import { type SignedReceipt, signReceipt } from "./receipt.ts";
import { shareDigest } from "./shares.ts";

/** A share that left, for the record: before it does. */
export interface GivenOut {
  backupId: string;
  index: number;
  /** The machine that got it, as the ticket names it. */
  machine: string;
  /** When the ticket was signed and ends. */
  ticket: Pick<RecoveryTicket, "issuedAt" | "expiresAt">;
}

/** Keeps shares for the owners of its settings, and gives them to the machines that their recovery keys name. */
export interface Custodian {
  challenge(tlsExporter: Uint8Array): Uint8Array;
  /** @throws Failure PEER_REFUSED, SHARE_REFUSED */
  deposit(deposit: {
    manifest: SignedManifest;
    index: number;
    share: Uint8Array;
    peer: PeerEvidence;
    tlsExporter: Uint8Array;
  }): Promise<SignedReceipt>;
  /** The caller zeroes the share. @throws Failure SHARE_NOT_FOUND, RECOVERY_TICKET_REFUSED, PEER_REFUSED, what `record` throws */
  recover(request: {
    backupId: string;
    ticket: string;
    peer: PeerEvidence;
    tlsExporter: Uint8Array;
  }): Promise<SharePlace & { share: Buffer }>;
}

export interface CustodianParts {
  owners: readonly CustodyOwner[];
  store: CustodyStore;
  challenges: Challenges;
  identityKey: KeyObject;
  /** Resolves when it is written down where nobody can take it away again. */
  record: (given: GivenOut) => Promise<void>;
  log: Logger;
  clock: Clock;
}

export function createCustodian(parts: CustodianParts): Custodian {
  const { owners, store, challenges, identityKey, record, log, clock } = parts;
  const self = identityKeyName(rawPublicKey(identityKey));
  let last: Promise<unknown> = Promise.resolve();
  /** One after the other: two deposits of one backup must not both find nothing. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };

  const expect = (
    peer: PeerEvidence,
    what: Omit<PeerExpected, "nonce" | "at">,
    policies: readonly PeerPolicy[],
  ): void => {
    const nonce = nonceOf(peer.claims);
    if (nonce === undefined || !challenges.isGood(nonce, what.tlsExporter)) {
      throw refusedPeer("its evidence answers no challenge of this connection, or one that is older than a minute");
    }
    const expected = { ...what, nonce, at: clock() };
    const refusals: string[] = [];
    for (const policy of policies) {
      try {
        appraisePeer(peer, expected, policy);
        return;
      } catch (error) {
        if (!(error instanceof AttestationError)) throw error;
        refusals.push(`${error.code}: ${error.message}`);
      }
    }
    throw refusedPeer(refusals.join("; ") || "this worker keeps shares for nobody with that recovery key");
  };

  const keep = async (place: SharePlace, share: Uint8Array, { signer, threshold }: Manifest): Promise<number> => {
    const backupId = backupIdOf(place.manifest);
    const before = await store.find(backupId).catch(ignoreDamage);
    if (before !== undefined) {
      // The manifest has the digest of every share: under its name and number there is no other.
      if (before.index !== place.index) throw refusedShare("another share of this backup is kept here");
      const opened = await before.open().catch(ignoreDamage);
      opened?.fill(0);
      if (opened !== undefined) return before.keptAt;
    }
    await store.keep(place, share);
    log.info({ backup_id: backupId, signer, index: place.index, threshold }, "share kept");
    return place.keptAt;
  };

  return {
    challenge: (tlsExporter) => challenges.issue(tlsExporter),

    deposit: async ({ manifest: signed, index, share, peer, tlsExporter }) => {
      const manifest = readable(signed);
      const backupId = backupIdOf(signed);
      if (manifest.custodians[index] !== self) throw refusedShare("this share is for another custodian");
      if (manifest.shareSha256[index] !== shareDigest(share)) throw refusedShare("the manifest names another share");
      const policies = ownersOf(owners, manifest).map(({ depositor }) => depositor);
      expect(peer, { purpose: "deposit", tlsExporter, request: depositDigest(backupId, index, share) }, policies);
      const place = { manifest: signed, index, keptAt: Math.floor(clock() / 1000) * 1000 };
      const keptAt = await inTurn(() => keep(place, share, manifest));
      return signReceipt({ backupId, index, custodian: self, keptAt }, identityKey);
    },

    recover: async ({ backupId, ticket: jws, peer, tlsExporter }) => {
      const kept = await found(store, backupId);
      const manifest = readable(kept.manifest);
      const { ticket, policies } = await readTicket(jws, { owners, manifest, backupId, at: clock() });
      expect(peer, { purpose: "recover", tlsExporter, request: recoverDigest(backupId, jws) }, policies);
      const { type, name, value } = ticket.machine;
      const machine = `${type} ${name} ${value}`;
      const share = await opened(kept);
      try {
        await record({ backupId, index: kept.index, machine, ticket });
      } catch (error) {
        share.fill(0);
        throw error;
      }
      log.warn({ backup_id: backupId, signer: manifest.signer, index: kept.index, machine }, "share given out");
      return { ...kept, share };
    },
  };
}

/** Of the same name, and under the same recovery key. */
function ownersOf(owners: readonly CustodyOwner[], { signer, recoveryKeySha256 }: Manifest): readonly CustodyOwner[] {
  return owners.filter((owner) => owner.signer === signer && owner.recoveryKeySha256 === recoveryKeySha256);
}

async function found(store: CustodyStore, backupId: string): Promise<SealedShare> {
  const kept = await store.find(backupId).catch(tellDamage);
  if (kept !== undefined) return kept;
  throw new Failure(ErrorReason.SHARE_NOT_FOUND, "no share of this backup is kept here");
}

async function opened(kept: SealedShare): Promise<Buffer> {
  return await kept.open().catch(tellDamage);
}

function ignoreDamage(error: unknown): undefined {
  if (!(error instanceof BackupError)) throw error;
}

function tellDamage(error: unknown): never {
  if (!(error instanceof BackupError)) throw error;
  throw new Failure(ErrorReason.SHARE_NOT_FOUND, error.message, { cause: error });
}

/** The recovery key is that of the settings, and the one that the manifest was made for. */
async function readTicket(
  jws: string,
  o: { owners: readonly CustodyOwner[]; manifest: Manifest; backupId: string; at: number },
): Promise<{ ticket: RecoveryTicket; policies: PeerPolicy[] }> {
  const [first, ...rest] = ownersOf(o.owners, o.manifest);
  if (first === undefined)
    throw refusedTicket("this worker's settings no longer name the backup's owner and recovery key");
  try {
    // Which of them makes no difference to the key.
    const { recoveryKey, clockSkewMs } = first;
    const ticket = await verifyRecoveryTicket(jws, recoveryKey, { at: o.at, clockSkewMs });
    if (ticket.backupId !== o.backupId) throw refusedTicket("the recovery ticket is for another backup");
    const policies = [first, ...rest].flatMap((owner) => owner.recoverer(ticket.machine) ?? []);
    if (policies.length > 0) return { ticket, policies };
    throw refusedTicket(`no ${ticket.machine.type} machine is accepted for this backup`);
  } catch (error) {
    if (error instanceof TicketRefused || error instanceof PolicyRefused) throw refusedTicket(error.message, error);
    throw error;
  }
}

function readable(signed: SignedManifest): Manifest {
  try {
    return readManifest(signed);
  } catch (error) {
    if (error instanceof BackupError) throw refusedShare(error.message, error);
    throw error;
  }
}

/** What the claims say that they answer; whether that is so, the evidence tells. */
function nonceOf(claims: Uint8Array): Buffer | undefined {
  try {
    const { eat_nonce: nonce } = JSON.parse(Buffer.from(claims).toString()) as { eat_nonce?: unknown };
    return typeof nonce === "string" ? Buffer.from(nonce, "base64url") : undefined;
  } catch {
    return undefined;
  }
}

function refusedPeer(why: string): Failure {
  return new Failure(
    ErrorReason.PEER_REFUSED,
    `the calling worker is not what this custodian's settings demand: ${why}`,
  );
}

function refusedShare(why: string, cause?: unknown): Failure {
  return new Failure(ErrorReason.SHARE_REFUSED, why, { cause });
}

function refusedTicket(why: string, cause?: unknown): Failure {
  return new Failure(ErrorReason.RECOVERY_TICKET_REFUSED, why, { cause });
}
