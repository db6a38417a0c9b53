import { createHash } from "node:crypto";

import type { Clock } from "@agentkeys/lib/clock";

import { AwsError } from "../aws-error.ts";

export interface StoredObject {
  key: string;
  body: Buffer;
  contentType: string;
  /** With quotes, as HTTP wants it. */
  etag: string;
  /** Epoch milliseconds. */
  modifiedAt: number;
}

/** Buckets and their objects, in memory. */
export interface Buckets {
  create(name: string): void;
  /** In the order of their names; times in epoch milliseconds. */
  list(): readonly { name: string; createdAt: number }[];
  /** Throws NoSuchBucket. */
  bucket(name: string): Bucket;
}

export interface Bucket {
  put(object: { key: string; body: Buffer; contentType: string }): StoredObject;
  get(key: string): StoredObject | undefined;
  delete(key: string): void;
  /** In the order of their keys' bytes, as S3 lists them. */
  list(): readonly StoredObject[];
}

export function createBuckets(clock: Clock): Buckets {
  const buckets = new Map<string, Bucket & { createdAt: number }>();
  return {
    create(name) {
      if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name)) {
        throw new AwsError("InvalidBucketName", 400, "The specified bucket is not valid.");
      }
      if (buckets.has(name)) {
        throw new AwsError(
          "BucketAlreadyOwnedByYou",
          409,
          "Your previous request to create the named bucket succeeded and you already own it.",
        );
      }
      buckets.set(name, { ...createBucket(clock), createdAt: clock() });
    },
    list: () =>
      [...buckets].map(([name, { createdAt }]) => ({ name, createdAt })).sort((a, b) => (a.name < b.name ? -1 : 1)),
    bucket(name) {
      const bucket = buckets.get(name);
      if (bucket === undefined) throw new AwsError("NoSuchBucket", 404, "The specified bucket does not exist");
      return bucket;
    },
  };
}

function createBucket(clock: Clock): Bucket {
  const objects = new Map<string, StoredObject>();
  return {
    put({ key, body, contentType }) {
      // S3's ETag of a small object is its MD5; nothing secret hangs on it.
      const etag = `"${createHash("md5").update(body).digest("hex")}"`;
      const object = { key, body, contentType, etag, modifiedAt: clock() };
      objects.set(key, object);
      return object;
    },
    get: (key) => objects.get(key),
    delete: (key) => void objects.delete(key),
    list: () => [...objects.values()].sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key))),
  };
}
