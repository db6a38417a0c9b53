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
  transaction: <T>(work: (tx: { signingKeys: SigningKeyStore }) => Promise<T>) => Promise<T>;
  sealer: KeySealer;
  policy: RotationPolicy;
  clock: Clock;
  log: Logger;
}

/** Opens the keys of a purpose, making the first one where there is none. @throws SettingsError when they cannot be decrypted. */
export async function openSigningKeys(options: SigningKeysOptions): Promise<SigningKeys> {
  const { purpose, transaction, clock } = options;
  let keys: readonly LoadedKey[] = [];
  let keySet = createLocalJWKSet({ keys: [] });

  const rotate = async (): Promise<void> => {
    // One transaction: of two brokers on one store that find a key due, only the first makes it.
    keys = await transaction(({ signingKeys }) => takeStep(options, signingKeys, keys));
    keySet = createLocalJWKSet({ keys: keys.map((key) => key.publicJwk) });
  };

  await rotate();
  return {
    rotate,
    current: () => {
      const key = signingKey(keys, clock());
      if (key === undefined) throw new Error(`there is no ${purpose} signing key`);
      return { kid: key.kid, privateKey: key.privateKey };
    },
    jwks: () => ({ keys: publicationOrder(keys, clock()).map((key) => key.publicJwk) }),
    verificationKey: (header, token) => keySet(header, token),
  };
}

/** Does what the rules say is due, and gives the keys as they stand then; those in `opened` are not decrypted again. */
async function takeStep(
  { purpose, sealer, policy, clock, log }: SigningKeysOptions,
  store: SigningKeyStore,
  opened: readonly LoadedKey[],
): Promise<LoadedKey[]> {
  const load = async (stored: StoredKey): Promise<LoadedKey> => {
    if (!sealer.isCurrent(stored.privateKey)) {
      await store.updatePrivateKey(stored.kid, await sealer.seal(await sealer.open(stored.privateKey)));
      log.info({ purpose, kid: stored.kid }, "a signing key was sealed anew");
    }
    return opened.find((key) => key.kid === stored.kid) ?? (await openKey(stored, sealer));
  };
  const keys: LoadedKey[] = [];
  for (const stored of await store.list(purpose)) keys.push(await load(stored));

  const { create, drop } = nextRotationStep(keys, clock(), policy);
  if (create !== undefined) {
    const key = await makeKey(purpose, create.activeFrom, clock(), sealer);
    await store.insert(key);
    keys.push(await openKey(key, sealer));
    const signsFrom = new Date(key.activeFrom).toISOString();
    log.info({ purpose, kid: key.kid, signs_from: signsFrom }, "a signing key was made and published");
  }
  for (const kid of drop) {
    await store.remove(kid);
    log.info({ purpose, kid }, "a signing key was retired");
  }
  return keys.filter(({ kid }) => !drop.includes(kid));
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
