/**
 * What keeps the master secret while the worker does not run, and what is made of it while it does.
 *
 *     vault.create() ──► blob (in the state file) ──► vault.open(blob) ──► RootKey ──► wallets, log key, identity key
 *
 * `genesis.ts` holds the rule of when to do which. A `Sealer` gives the 32 bytes back to memory (`tpm2-sealer.ts`, a KMS); where
 * the key must stay inside the TPM, there is no sealer but a vault of its own (`tpm-hmac-vault.ts`).
 */

/** Wraps a secret so that only the measured code gets it back. */
export interface Sealer {
  /** Stands in the state file: a blob is opened by the kind of sealer that made it. */
  readonly type: string;
  /** At most 64 bytes of secret. The blob is no secret. `aad` is bound to it and needed again. */
  seal(secret: Uint8Array, aad: Uint8Array, replaced?: Uint8Array): Promise<Uint8Array>;
  /** The caller zeroes the result. @throws UnsealRefused */
  unseal(blob: Uint8Array, aad: Uint8Array): Promise<Buffer>;
  /** See `RootKeyVault`. */
  isSealedFor?(blob: Uint8Array): boolean;
  retireOlder?(blob: Uint8Array): Promise<void>;
}

/** A number that only grows, outside the disk. */
export interface MonotonicCounter {
  /** `undefined` where it was never incremented: then it has no value yet. */
  read(): Promise<bigint | undefined>;
  /** The value after the increment. The first one may be any number. */
  increment(): Promise<bigint>;
}

/** The pseudorandom key of HKDF-SHA256 (RFC 5869), wherever it is. */
export interface RootKey {
  /** HKDF-Expand to 32 bytes for `info`; the caller zeroes them. Each use has an info prefix of its own: see `root-key.ts`. */
  derive(info: Uint8Array): Promise<Buffer>;
  /** HMAC-SHA256 under the key: what HKDF-Expand makes its further blocks with. The caller zeroes the result. */
  readonly mac: (data: Uint8Array) => Promise<Buffer>;
  /** Zeroes what is in memory. The key is of no use afterwards. */
  destroy(): void;
}

/** A root key, which whoever gets it destroys, and the blob that opens it again. */
export interface SealedRootKey {
  blob: Uint8Array;
  key: RootKey;
}

/** Makes a root key once and opens it ever after. */
export interface RootKeyVault {
  readonly type: string;
  /** A new root key. */
  create(): Promise<SealedRootKey>;
  /** The root key of a master secret (32 bytes) that there is already, and that stays the caller's to zero. */
  bringIn(masterSecret: Uint8Array): Promise<SealedRootKey>;
  /** @throws UnsealRefused */
  open(blob: Uint8Array): Promise<RootKey>;
  /** The master secret itself, which the caller zeroes. Absent where it never comes out again. @throws UnsealRefused */
  reveal?: (blob: Uint8Array) => Promise<Buffer>;
  /** Whether a blob of this type is one that this very vault opens, and not another release key's; absent where a type has one vault. */
  isSealedFor?(blob: Uint8Array): boolean;
  /**
   * Makes void, for ever, what was sealed before this blob replaced it: copies of it on backups open no more either. Called once the blob
   * is on the disk, at every start, since the process that wrote it may have ended before. Absent where nothing counts.
   */
  retireOlder?(blob: Uint8Array): Promise<void>;
}

/** What a root key was sealed by before, when it is to be sealed by another vault from now on. */
export interface FormerVault {
  vault: RootKeyVault;
  /** The same root key, sealed for whom the new vault opens. Nothing is void yet. @throws UnsealRefused */
  reseal(blob: Uint8Array): Promise<Uint8Array>;
}

/** A PCR that holds something else than what the seal asks for. Values in lower-case hex. */
export interface PcrDifference {
  pcr: number;
  /** One value for each approved release, or the one that was sealed to. */
  expected: readonly string[];
  got: string;
}

export type UnsealRefusal =
  /** Other code was measured than what the seal is for, or what a release key approved. */
  | "MEASUREMENT"
  /** An approval is not signed by the release key that the seal names. */
  | "APPROVAL"
  /** The release that runs is approved, but of a security version that this TPM was told to open for no more. */
  | "RETIRED"
  /** The blob is not one of this TPM, key or purpose, or was changed. */
  | "BLOB"
  /** It would open, but was not made by code that it opens for. */
  | "ORIGIN"
  /** The sealing device or service refuses for a reason of its own, or cannot be reached. */
  | "DEVICE";

/** The secret stays sealed. The process ends with `EXIT_UNSEAL_REFUSED`; it never makes another secret instead. */
export class UnsealRefused extends Error {
  override readonly name = "UnsealRefused";

  constructor(
    readonly refusal: UnsealRefusal,
    message: string,
    readonly pcrs: readonly PcrDifference[] = [],
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

export const EXIT_UNSEAL_REFUSED = 42;
