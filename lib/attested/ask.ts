import { type Client, createClient } from "@connectrpc/connect";

import { type GetAttestationResponse, KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import type { Clock } from "../clock.ts";
import { type ActivatedKey, beginActivation, type Evidence, mediaTypes } from "../evidence/index.ts";
import type { RandomBytes } from "../random.ts";
import { connectTransport } from "../rpc/index.ts";

import type { Asked } from "./appraise.ts";
import type { Connection } from "./connection.ts";
import type { Policy } from "./policy.ts";

const NONCE_BYTES = 32;
/** A TPM may take most of a second, and others may be before us. */
const TIMEOUT_MS = 15_000;

/**
 * Asks whoever is at the other end of a connection for evidence. Nothing but a nonce is sent, and a challenge for its TPM where the policy
 * pins the endorsement key. @throws AttestationError, ConnectError
 */
export async function askForEvidence(
  connection: Connection,
  { policy, clock, random }: { policy?: Pick<Policy, "platforms">; clock: Clock; random: RandomBytes },
): Promise<{ answer: GetAttestationResponse; asked: Asked }> {
  const nonce = random(NONCE_BYTES);
  const client = createClient(
    KeyService,
    connectTransport(connection.authority, { connections: connection, timeoutMs: TIMEOUT_MS }),
  );
  const answer = await client.getAttestation({ nonceHex: Buffer.from(nonce).toString("hex") });
  const at = clock();
  const needsActivation = policy?.platforms.some(
    ({ type, needsActivation: needs }) => needs && mediaTypes[type] === answer.mediaType,
  );
  if (needsActivation !== true) return { answer, asked: { nonce, connection, at } };
  return { answer, asked: { nonce, connection, at, activated: await activate(client, answer, random) } };
}

/** Has the worker's TPM prove that its attestation key lives beside its endorsement key. @throws AttestationError, ConnectError */
export async function activate(
  client: Pick<Client<typeof KeyService>, "activateCredential">,
  evidence: Evidence,
  random: RandomBytes,
): Promise<ActivatedKey> {
  const { challenge, finish } = beginActivation(evidence, random);
  const { secret } = await client.activateCredential({
    credentialBlob: challenge.credential,
    encryptedSecret: challenge.encryptedSeed,
  });
  return finish(secret);
}
