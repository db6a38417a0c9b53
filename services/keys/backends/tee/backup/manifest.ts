import { createHash, type KeyObject } from "node:crypto";

import { canonicalJson } from "@agentkeys/lib/evidence/canonical-json";
import { Json } from "@agentkeys/lib/evidence/json";

import { BackupError } from "./backup-error.ts";
import { isSignedAs, signAs } from "@agentkeys/lib/evidence/ed25519";

/**
 * What a backup is: whose master secret, into how many shares it was split, who keeps them, and whose ticket brings them back. Every
 * custodian keeps it beside its share. Its SHA-256 names the backup, so that a ticket for that name vouches for all that stands here:
 * which shares are the right ones, and which identity key has to come out.
 */
export interface Manifest {
  /** What the worker is called. */
  signer: string;
  /** `ed25519:` and hex: the key derived from the master secret. */
  identityKey: string;
  /** How many shares it takes. */
  threshold: number;
  /** The custodians' identity keys, likewise, in the order of their shares. */
  custodians: readonly string[];
  /** `shareDigest` of each share. */
  shareSha256: readonly string[];
  /** SHA-256 of the recovery key's SubjectPublicKeyInfo, in lower-case hex. */
  recoveryKeySha256: string;
  /** Epoch milliseconds, in whole seconds. */
  madeAt: number;
}

/** A manifest as it is kept and sent, signed by the identity key that it names. */
export interface SignedManifest {
  bytes: Uint8Array;
  signature: Uint8Array;
}

export const MAX_SHARES = 16;
const MAX_BYTES = 16 * 1024;
const PURPOSE = "agentkeys/backup-manifest/v1";

export function signManifest(manifest: Manifest, identityKey: KeyObject): SignedManifest {
  const bytes = encode(manifest);
  return { bytes, signature: signAs(PURPOSE, bytes, identityKey) };
}

/** What a backup is called: 64 lower-case hex characters. */
export function backupIdOf({ bytes }: Pick<SignedManifest, "bytes">): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Reads a manifest that came from elsewhere: complete, canonical, sensible, and signed by the key that it names. @throws BackupError */
export function readManifest({ bytes, signature }: SignedManifest): Manifest {
  const manifest = parse(bytes);
  const { custodians, shareSha256, threshold } = manifest;
  const shares = custodians.length;
  if (shares > MAX_SHARES || shares !== shareSha256.length) throw unreadable();
  if (threshold < 2 || threshold > shares) throw unreadable();
  if (new Set(custodians).size < shares || new Set(shareSha256).size < shares) throw unreadable();
  const publicKey = Buffer.from(manifest.identityKey.slice("ed25519:".length), "hex");
  if (!isSignedAs(PURPOSE, { message: bytes, signature, publicKey })) {
    throw new BackupError("the backup's manifest is not signed by the identity key that it names");
  }
  return manifest;
}

function encode(manifest: Manifest): Buffer {
  return Buffer.from(
    canonicalJson({
      v: 1,
      signer: manifest.signer,
      identity_pub: manifest.identityKey,
      threshold: manifest.threshold,
      custodians: manifest.custodians,
      share_sha256: manifest.shareSha256,
      recovery_key_sha256: manifest.recoveryKeySha256,
      made_at: manifest.madeAt / 1000,
    }),
  );
}

function parse(bytes: Uint8Array): Manifest {
  if (bytes.length > MAX_BYTES) throw unreadable();
  try {
    const json = Json.parse(bytes, "the manifest");
    const texts = (name: string): string[] =>
      json
        .field(name)
        .list()
        .map((item) => item.text());
    json.field("v").oneOf([1]);
    const manifest: Manifest = {
      signer: json.field("signer").text(),
      identityKey: json.field("identity_pub").text(),
      threshold: json.field("threshold").integer(),
      custodians: texts("custodians"),
      shareSha256: texts("share_sha256"),
      recoveryKeySha256: json.field("recovery_key_sha256").hex(32).toString("hex"),
      madeAt: json.field("made_at").integer() * 1000,
    };
    const keys = [manifest.identityKey, ...manifest.custodians];
    const isWhole =
      keys.every((key) => IDENTITY_KEY.test(key)) && manifest.shareSha256.every((digest) => SHA256.test(digest));
    // The canonical text has no room for another member.
    if (isWhole && encode(manifest).equals(bytes)) return manifest;
  } catch {
    // Said below, without a word of what came.
  }
  throw unreadable();
}

const IDENTITY_KEY = /^ed25519:[0-9a-f]{64}$/;
const SHA256 = /^[0-9a-f]{64}$/;

function unreadable(): BackupError {
  return new BackupError("the backup's manifest is not one that this version writes");
}
