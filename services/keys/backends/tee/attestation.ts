import type { KeyObject } from "node:crypto";

import type { ServiceImpl } from "@connectrpc/connect";

import type { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import type { Clock } from "@agentkeys/lib/clock";
import {
  claimsDigest,
  encodeClaims,
  type LogHead,
  type SettingValue,
  signClaims,
} from "@agentkeys/lib/evidence/claims";
import { rawPublicKey } from "@agentkeys/lib/evidence/ed25519";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { channelBinding, requestInfo } from "@agentkeys/lib/rpc";
import { networkOf } from "@agentkeys/lib/rpc/source-network";

import type { EvidenceProvider } from "./provider.ts";
import { createTurnstile } from "./turnstile.ts";

/** What the worker can say of itself. */
export interface AttestationParts {
  provider: EvidenceProvider;
  bootId: string;
  spkiSha256: Uint8Array;
  /** Ed25519, derived from the master secret. */
  identityKey: KeyObject;
  version: string;
  settings: Readonly<Record<string, SettingValue>>;
  /** The sign log's head as it is now, and the counter that goes with it. */
  head: () => LogHead & { counter?: bigint };
  /** The lowest security version that the seal opens for, as it is now; `undefined` where there is no such thing. */
  minSecurityVersion: () => number | undefined;
  clock: Clock;
  sleep: (ms: number) => Promise<void>;
}

/** A daemon asks once for each connection, and again every few minutes; a household or an office may have many. */
const PER_MINUTE = 120;
const WAITING = { ofOne: 8, ofAll: 64 };

/**
 * GetAttestation and ActivateCredential. Evidence is made when it is asked for, never for a signature, and only so often that the hardware
 * behind it stays free for what else it has to do.
 */
export function createAttestation(
  parts: AttestationParts,
): Pick<ServiceImpl<typeof KeyService>, "getAttestation"> &
  Partial<Pick<ServiceImpl<typeof KeyService>, "activateCredential">> {
  const { provider, clock, sleep } = parts;
  const turnstile = createTurnstile({ clock, sleep, perMinute: PER_MINUTE, waiting: WAITING });
  const activate = provider.activate?.bind(provider);
  return {
    getAttestation: async ({ nonceHex }, { values }) => {
      const binding = values.get(channelBinding);
      if (binding === undefined) {
        throw new Failure(
          ErrorReason.NOT_SERVED,
          "evidence is given over TLS 1.3 only: it is about the connection that it is asked for on",
        );
      }
      return await turnstile.pass(networkOf(values.get(requestInfo).sourceAddress), async () => {
        const nonce = Buffer.from(nonceHex, "hex");
        const claims = claimsAbout(parts, nonce, binding.tlsExporter());
        const made = await provider.evidence(claimsDigest(claims), nonce);
        const identitySignature = signClaims(claims, parts.identityKey);
        return { ...made, endorsements: [...made.endorsements], claims, identitySignature };
      });
    },
    ...(activate !== undefined && {
      activateCredential: async ({ credentialBlob, encryptedSecret }, { values }) => {
        const challenge = { credential: credentialBlob, encryptedSeed: encryptedSecret };
        const source = networkOf(values.get(requestInfo).sourceAddress);
        return { secret: await turnstile.pass(source, () => activate(challenge)) };
      },
    }),
  };
}

function claimsAbout(parts: AttestationParts, nonce: Uint8Array, tlsExporter: Uint8Array): Uint8Array {
  const { vkey, size, root, counter } = parts.head();
  const minSecurityVersion = parts.minSecurityVersion();
  return encodeClaims({
    nonce,
    tlsExporter,
    issuedAt: Math.floor(parts.clock() / 1000),
    bootId: parts.bootId,
    tlsSpkiSha256: parts.spkiSha256,
    identityKey: rawPublicKey(parts.identityKey),
    signerVersion: parts.version,
    settings: parts.settings,
    log: { vkey, size, root },
    ...(counter !== undefined && { nvCounter: Number(counter) }),
    ...(minSecurityVersion !== undefined && { minSecurityVersion }),
  });
}
