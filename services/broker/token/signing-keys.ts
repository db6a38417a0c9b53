import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  type CryptoKey,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
  type JWTVerifyGetKey,
} from "jose";

import type { Clock } from "@agentkeys/lib/clock";
import type { Logger } from "@agentkeys/lib/log";

import { type KeyTimes, nextRotationStep, publicationOrder, type RotationPolicy, signingKey } from "./keyring.ts";
import type { KeySealer } from "./sealer.ts";
import type { KeyPurpose, SigningKeyStore, StoredKey } from "./store.ts";

/** The one algorithm of all our tokens: what AWS, and every other relying party, verifies. */
export const ALGORITHM = "ES256";

/** The keys of one purpose, kept in step with the store and the rules of rotation. */
export interface SigningKeys {
  /** The key to sign with now. */
  current(): { kid: string; privateKey: CryptoKey };
  /** What is published: the current key first (RFC 7517). */
  jwks(): { keys: JWK[] };
  /** For verifying our own tokens. */
  readonly verificationKey: JWTVerifyGetKey;
  /** Takes the next step of the rotation if one is due, and reads what another replica did. */
  readonly rotate: () => Promise<void>;
}

interface LoadedKey extends KeyTimes {
  publicJwk: JWK;
  privateKey: CryptoKey;
}

export interface SigningKeysOptions {
  purpose: KeyPurpose;
  store: SigningKeyStore;
  sealer: KeySealer;
  policy: RotationPolicy;
  clock: Clock;
  log: Logger;
}

/** Opens the keys of a purpose, making the first one where there is none. @throws SettingsError when they cannot be decrypted. */
export async function openSigningKeys(options: SigningKeysOptions): Promise<SigningKeys> {
  const { purpose, store, sealer, policy, clock, log } = options;
  let keys: LoadedKey[] = [];

  const load = async (): Promise<void> => {
    const loaded: LoadedKey[] = [];
    for (const stored of await store.list(purpose)) {
      loaded.push(keys.find((key) => key.kid === stored.kid) ?? (await openKey(stored, sealer)));
      if (!sealer.isCurrent(stored.privateKey)) {
        await store.updatePrivateKey(stored.kid, await sealer.seal(await sealer.open(stored.privateKey)));
        log.info({ purpose, kid: stored.kid }, "a signing key was sealed anew");
      }
    }
    keys = loaded;
  };

  const rotate = async (): Promise<void> => {
    await load();
    const step = nextRotationStep(keys, clock(), policy);
    if (step.create !== undefined) {
      const key = await makeKey(purpose, step.create.activeFrom, clock(), sealer);
      await store.insert(key);
      const signsFrom = new Date(key.activeFrom).toISOString();
      log.info({ purpose, kid: key.kid, signs_from: signsFrom }, "a signing key was made and published");
    }
    for (const kid of step.drop) {
      await store.remove(kid);
      log.info({ purpose, kid }, "a signing key was retired");
    }
    if (step.create !== undefined || step.drop.length > 0) await load();
  };

  await rotate();
  return {
    rotate,
    current: () => {
      const key = signingKey(keys, clock());
      if (key === undefined) throw new Error(`no ${purpose} signing key is active`);
      return { kid: key.kid, privateKey: key.privateKey };
    },
    jwks: () => ({ keys: publicationOrder(keys, clock()).map((key) => key.publicJwk) }),
    verificationKey: (header, token) => createLocalJWKSet({ keys: keys.map((key) => key.publicJwk) })(header, token),
  };
}

async function openKey(stored: StoredKey, sealer: KeySealer): Promise<LoadedKey> {
  return {
    kid: stored.kid,
    createdAt: stored.createdAt,
    activeFrom: stored.activeFrom,
    publicJwk: JSON.parse(stored.publicJwk) as JWK,
    privateKey: (await importJWK(await sealer.open(stored.privateKey), ALGORITHM)) as CryptoKey,
  };
}

async function makeKey(purpose: KeyPurpose, activeFrom: number, now: number, sealer: KeySealer): Promise<StoredKey> {
  const { publicKey, privateKey } = await generateKeyPair(ALGORITHM, { extractable: true });
  const publicJwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(publicJwk, "sha256");
  return {
    kid,
    purpose,
    publicJwk: JSON.stringify({ ...publicJwk, kid, use: "sig", alg: ALGORITHM }),
    privateKey: await sealer.seal(await exportJWK(privateKey)),
    createdAt: now,
    activeFrom,
  };
}
