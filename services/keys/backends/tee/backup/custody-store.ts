import { createCipheriv, createDecipheriv } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { Json } from "@agentkeys/lib/evidence/json";
import type { RandomBytes } from "@agentkeys/lib/random";

import { keyUse } from "../root-key.ts";
import type { RootKey } from "../sealer.ts";
import { systemFiles, type WholeFiles } from "../whole-files.ts";
import { BackupError } from "./backup-error.ts";
import { backupIdOf, type SignedManifest } from "./manifest.ts";

/** What a share is a share of. */
export interface SharePlace {
  manifest: SignedManifest;
  /** Which one it is, from 0. */
  index: number;
  /** When it was deposited: epoch milliseconds, in whole seconds. */
  keptAt: number;
}

/** A share that is kept, and sealed until somebody may have it. */
export interface SealedShare extends SharePlace {
  /** 33 bytes, which the caller zeroes. @throws BackupError where it was changed, or is another worker's */
  open(): Promise<Buffer>;
}

/** The shares that a custodian keeps, a file for each. They open by its root key only, and so by the code that its own seal is for. */
export interface CustodyStore {
  /** `undefined` where there is none. @throws BackupError where there is something else */
  find(backupId: string): Promise<SealedShare | undefined>;
  /** On return it is on the disk. */
  keep(place: SharePlace, share: Uint8Array): Promise<void>;
}

const VERSION = 1;
const MAX_BYTES = 64 * 1024;
const [NONCE_BYTES, TAG_BYTES] = [12, 16];

export async function openCustodyStore(
  folder: string,
  { key, random, files = systemFiles }: { key: RootKey; random: RandomBytes; files?: WholeFiles },
): Promise<CustodyStore> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const pathOf = (backupId: string): string => join(folder, `${backupId}.json`);
  return {
    find: async (backupId) => {
      const text = await files.read(pathOf(backupId), MAX_BYTES);
      if (text === undefined) return undefined;
      const sealed = parse(text);
      if (sealed === undefined || backupIdOf(sealed.manifest) !== backupId) throw damaged(backupId);
      return {
        ...{ manifest: sealed.manifest, index: sealed.index, keptAt: sealed.keptAt },
        open: async () => {
          const share = await withKey(key, backupId, (shareKey) => open(shareKey, sealed));
          if (share === undefined) throw damaged(backupId);
          return share;
        },
      };
    },
    keep: async (place, share) => {
      const backupId = backupIdOf(place.manifest);
      const sealed = await withKey(key, backupId, (shareKey) => seal(shareKey, place, share, random(NONCE_BYTES)));
      await files.replace(pathOf(backupId), format(place, sealed));
    },
  };
}

/** Everything beside the share itself is bound to it. */
function boundTo({ manifest, index, keptAt }: SharePlace): Buffer {
  const place = JSON.stringify({ v: VERSION, index, kept_at: keptAt });
  return Buffer.concat([Buffer.from(`agentkeys/kept-share/v1\0${place}\0`), manifest.signature, manifest.bytes]);
}

function seal(key: Uint8Array, place: SharePlace, share: Uint8Array, nonce: Uint8Array): Buffer {
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(boundTo(place));
  return Buffer.concat([nonce, cipher.update(share), cipher.final(), cipher.getAuthTag()]);
}

interface Sealed extends SharePlace {
  sealed: Buffer;
}

function open(key: Uint8Array, kept: Sealed): Buffer | undefined {
  const { sealed } = kept;
  if (sealed.length <= NONCE_BYTES + TAG_BYTES) return undefined;
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(boundTo(kept));
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  const share = decipher.update(sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES));
  try {
    decipher.final();
    return share;
  } catch {
    share.fill(0);
    return undefined;
  }
}

/** A key for each backup: no nonce ever meets another share. */
async function withKey<T>(root: RootKey, backupId: string, use: (key: Uint8Array) => T): Promise<T> {
  const key = await root.derive(Buffer.from(`${keyUse.share}:${backupId}`));
  try {
    return use(key);
  } finally {
    key.fill(0);
  }
}

function format({ manifest, index, keptAt }: SharePlace, sealed: Buffer): string {
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  const file = {
    version: VERSION,
    manifest: base64(manifest.bytes),
    manifest_signature: base64(manifest.signature),
    index,
    kept_at: keptAt,
    sealed_share: base64(sealed),
  };
  return JSON.stringify(file, null, 2) + "\n";
}

function parse(text: string): Sealed | undefined {
  try {
    const json = Json.parse(Buffer.from(text), "a kept share");
    json.only(["version", "manifest", "manifest_signature", "index", "kept_at", "sealed_share"]);
    json.field("version").oneOf([VERSION]);
    return {
      manifest: { bytes: json.field("manifest").base64(), signature: json.field("manifest_signature").base64() },
      index: json.field("index").integer(),
      keptAt: json.field("kept_at").integer(),
      sealed: json.field("sealed_share").base64(),
    };
  } catch {
    return undefined;
  }
}

function damaged(backupId: string): BackupError {
  return new BackupError(`the share kept of the backup ${backupId} was changed, or is not by this worker's root key`);
}
