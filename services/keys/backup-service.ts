import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";

import type { BackupService, PeerEvidence } from "@agentkeys/gen/agentkeys/keys/v1/backup_service_pb";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { channelBinding, requestInfo } from "@agentkeys/lib/rpc";
import { networkOf } from "@agentkeys/lib/rpc/source-network";

import type { Custodian } from "./backends/tee/backup/custodian.ts";
import type { Turnstile } from "./backends/tee/turnstile.ts";

/** The RPCs of a custodian: wire in, domain call, wire out. Everywhere else there is nothing behind them. */
export function createBackupService(custodian: Custodian, turnstile: Turnstile): ServiceImpl<typeof BackupService> {
  const inTurn = <T>({ values }: HandlerContext, work: () => Promise<T>): Promise<T> =>
    turnstile.pass(networkOf(values.get(requestInfo).sourceAddress), work);
  return {
    getBackupChallenge: (_, context) => ({ nonce: custodian.challenge(exporterOf(context)) }),

    depositShare: async ({ manifest, manifestSignature: signature, index, share, peer }, context) => {
      const tlsExporter = exporterOf(context);
      try {
        const deposit = { manifest: { bytes: manifest, signature }, index, share, peer: given(peer), tlsExporter };
        const receipt = await inTurn(context, () => custodian.deposit(deposit));
        return { receipt: receipt.bytes, signature: receipt.signature };
      } finally {
        share.fill(0);
      }
    },

    recoverShare: async ({ backupId, ticket, peer }, context) => {
      const tlsExporter = exporterOf(context);
      const request = { backupId, ticket, peer: given(peer), tlsExporter };
      const { manifest, index, share } = await inTurn(context, () => custodian.recover(request));
      return { manifest: manifest.bytes, manifestSignature: manifest.signature, index, share };
    },
  };
}

/** A share goes to the other end of this very connection and to nobody else. */
function exporterOf({ values }: HandlerContext): Buffer {
  const binding = values.get(channelBinding);
  if (binding !== undefined) return binding.tlsExporter();
  throw new Failure(ErrorReason.NOT_SERVED, "shares are kept and given out over TLS 1.3 only");
}

/** Validation has made sure of it. */
function given(peer: PeerEvidence | undefined): PeerEvidence {
  if (peer === undefined) throw new Failure(ErrorReason.INVALID_REQUEST, "peer is missing");
  return peer;
}
