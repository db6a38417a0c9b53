/** Whether the key service is what this machine's policy demands, before anything is sent to it (RFC 9334: the verifier). */
import { createClient } from "@connectrpc/connect";

import { SignLogService } from "@agentkeys/gen/agentkeys/keys/v1/sign_log_service_pb";
import type { Clock } from "@agentkeys/lib/clock";
import { AttestationError } from "@agentkeys/lib/evidence";
import type { RandomBytes } from "@agentkeys/lib/random";
import { connectTransport, type Http2Connections } from "@agentkeys/lib/rpc";

import { explainCall } from "../call-problem.ts";
import { printable } from "../printable.ts";
import { Problem } from "../problem.ts";
import { type Appraisal, appraise } from "@agentkeys/lib/attested/appraise";
import { askForEvidence } from "@agentkeys/lib/attested/ask";
import { attestedChannel } from "./channel.ts";
import type { Connection } from "./connection.ts";
import { type Policy, readPolicyFile } from "./policy.ts";
import { openWitness, type SeenHead } from "./witness.ts";

export interface AttestedConnections extends Http2Connections {
  /** Remembers that an answer on one of these named the entry at `index` of the sign log. @throws Problem STATE_* */
  answered(index: number): Promise<void>;
}

/** Requests to the key service at `url`, each on a connection that was found to be what the policy demands. */
export async function openAttestedConnections(o: {
  url: string;
  policyFile: string;
  /** Where the last head of the sign log is kept that this machine saw. */
  stateFolder: string;
  clock: Clock;
  random: RandomBytes;
}): Promise<AttestedConnections> {
  const { url, clock } = o;
  let policy = await readPolicyFile(o.policyFile);

  const attest = async (connection: Connection): Promise<SeenHead> => {
    // As it stands now: a program that runs for weeks learns what was taken out of it, and reads revocation lists that were renewed.
    policy = await readPolicyFile(o.policyFile);
    try {
      const { answer, asked } = await askForEvidence(connection, { ...o, policy });
      return headOf(appraise(answer, asked, policy));
    } catch (error) {
      throw refused(url, error);
    }
  };

  const channel = attestedChannel({
    url,
    clock,
    reattestAfterMs: () => policy.reattestAfterMs,
    attest: async (connection) => {
      await witnessLog(await attest(connection), {
        ...{ connection, policy, stateFolder: o.stateFolder },
        again: () => attest(connection),
      });
    },
  });
  return { ...channel, answered: (index) => openWitness(o.stateFolder, policy.logKey).answered(index) };
}

/** Has a head of the sign log proven to be the continuation of what this machine saw. @throws Problem SIGN_LOG_* */
export async function witnessLog(
  head: SeenHead,
  o: { connection: Connection; policy: Policy; stateFolder: string; again: () => Promise<SeenHead> },
): Promise<void> {
  await openWitness(o.stateFolder, o.policy.logKey).see(head, {
    again: o.again,
    consistencyProof: (fromSize, toSize) => consistencyProof(o.connection, fromSize, toSize),
  });
}

export function headOf({ claims: { log, nvCounter } }: Appraisal): SeenHead {
  return { size: log.size, root: log.root, ...(nvCounter !== undefined && { counter: nvCounter }) };
}

/** Two numbers are sent, which say no more than when this machine was here last. */
async function consistencyProof(connection: Connection, fromSize: number, toSize: number): Promise<Uint8Array[]> {
  const url = connection.authority;
  const client = createClient(SignLogService, connectTransport(url, { connections: connection, timeoutMs: 15_000 }));
  try {
    const { hashes } = await client.getConsistencyProof({ fromSize: BigInt(fromSize), toSize: BigInt(toSize) });
    return hashes;
  } catch (error) {
    throw explainCall(error, { name: "key service", url, setting: "AGENTKEYS_KEYS_URL" });
  }
}

/** Tells a person that the key service is not what it should be, and why. */
export function refused(url: string, error: unknown): unknown {
  if (!(error instanceof AttestationError)) return error;
  return new Problem(
    `ATTESTATION_${error.code}`,
    "standing",
    `The key service at ${url} is not what the attestation policy demands: ${printable(error.message)}. Nothing was sent to it.`,
    {
      remedy:
        "`agentkeys attest verify` shows every check. If the key service was changed on purpose, have its new values reviewed " +
        "and put into the policy.",
      cause: error,
    },
  );
}
