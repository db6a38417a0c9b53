import { type Client, createClient } from "@connectrpc/connect";

import { BackupService } from "@agentkeys/gen/agentkeys/keys/v1/backup_service_pb";
import { appraise } from "@agentkeys/lib/attested/appraise";
import { askForEvidence } from "@agentkeys/lib/attested/ask";
import { NotAttestable, openConnection } from "@agentkeys/lib/attested/connection";
import type { Clock } from "@agentkeys/lib/clock";
import { AttestationError } from "@agentkeys/lib/evidence";
import { ErrorReason } from "@agentkeys/lib/failure";
import type { RandomBytes } from "@agentkeys/lib/random";
import { connectTransport, failureOf } from "@agentkeys/lib/rpc";

import { BackupError } from "./backup-error.ts";
import type { PeerEvidence, PeerPurpose, Voucher } from "./peer-evidence.ts";
import type { Custodian } from "./plan.ts";

/** One connection to a custodian that proved on it that it is the one of the plan. */
export interface AttestedCustodian {
  client: Pick<Client<typeof BackupService>, "depositShare" | "recoverShare">;
  /** Evidence about this worker for one request on this connection. */
  vouch: (purpose: PeerPurpose, request: Uint8Array) => Promise<PeerEvidence & { endorsements: Uint8Array[] }>;
}

export interface CallerParts {
  vouch: Voucher;
  clock: Clock;
  random: RandomBytes;
}

const TIMEOUT_MS = 15_000;

/**
 * Opens a connection, has the custodian attested on it, and only then lets `use` send anything. The connection ends with it.
 * @throws BackupError that says in words, for an operator, why it came to nothing
 */
export async function withCustodian<T>(
  { url, policy }: Custodian,
  { vouch, clock, random }: CallerParts,
  use: (custodian: AttestedCustodian) => Promise<T>,
): Promise<T> {
  try {
    const connection = await openConnection(url);
    try {
      const { answer, asked } = await askForEvidence(connection, { policy, clock, random });
      appraise(answer, asked, policy);
      const transport = connectTransport(url, { connections: connection, timeoutMs: TIMEOUT_MS });
      const client = createClient(BackupService, transport);
      return await use({
        client,
        vouch: async (purpose, request) => {
          const { nonce } = await client.getBackupChallenge({});
          const made = await vouch({ purpose, nonce, tlsExporter: connection.exporter, request });
          return { ...made, endorsements: [...made.endorsements] };
        },
      });
    } finally {
      connection.close();
    }
  } catch (error) {
    throw explained(url, error);
  }
}

function explained(url: string, error: unknown): BackupError {
  return new BackupError(`the custodian at ${url}: ${whyOf(error)}`, { cause: error });
}

function whyOf(error: unknown): string {
  if (error instanceof AttestationError) return `it is not what the policy demands (${error.code}): ${error.message}`;
  if (error instanceof BackupError || error instanceof NotAttestable) return error.message;
  const { reason, message } = failureOf(error);
  if (reason !== undefined) return `it refused (${ErrorReason[reason]}): ${message}`;
  const code = systemCodeOf(error);
  return code === undefined ? "it gave no answer that could be used" : `it does not answer (${code})`;
}

function systemCodeOf(error: unknown): string | undefined {
  for (let link = error, depth = 0; link instanceof Error && depth < 10; link = link.cause, depth++) {
    if ("code" in link && typeof link.code === "string") return link.code;
  }
  return undefined;
}
