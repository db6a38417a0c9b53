import { AwsError } from "../aws-error.ts";
import type { XmlContent } from "../xml.ts";
import type { StoredObject } from "./buckets.ts";

const MAX_KEYS = 1000;

/** ListObjectsV2: a page of a bucket's keys, those behind a delimiter rolled up into common prefixes. */
export function listObjects(name: string, objects: readonly StoredObject[], query: URLSearchParams): XmlContent {
  const prefix = query.get("prefix") ?? "";
  const delimiter = query.get("delimiter") ?? "";
  const maxKeys = Number(query.get("max-keys") ?? MAX_KEYS);
  if (!Number.isInteger(maxKeys) || maxKeys < 0) {
    throw new AwsError("InvalidArgument", 400, "Provided max-keys not an integer or within integer range");
  }
  const token = query.get("continuation-token");
  const after = token === null ? (query.get("start-after") ?? "") : Buffer.from(token, "base64url").toString();
  const url = query.get("encoding-type") === "url";
  const shown = (text: string): string => (url ? encodeURIComponent(text).replace(/%2F/g, "/") : text);

  const entries = rollUp(objects, prefix, delimiter).filter((entry) => isAfter(entry, after));
  const page = entries.slice(0, Math.min(maxKeys, MAX_KEYS));
  const last = page.at(-1);
  const truncated = page.length < entries.length && last !== undefined;
  return {
    Name: name,
    Prefix: shown(prefix),
    Delimiter: delimiter === "" ? undefined : shown(delimiter),
    MaxKeys: maxKeys,
    EncodingType: url ? "url" : undefined,
    KeyCount: page.length,
    IsTruncated: truncated,
    ContinuationToken: token ?? undefined,
    NextContinuationToken: truncated ? Buffer.from(last.name).toString("base64url") : undefined,
    Contents: page.flatMap(({ object }) =>
      object === undefined
        ? []
        : {
            Key: shown(object.key),
            LastModified: new Date(object.modifiedAt).toISOString(),
            ETag: object.etag,
            Size: object.body.length,
            StorageClass: "STANDARD",
          },
    ),
    CommonPrefixes: page.flatMap(({ name, object }) => (object === undefined ? { Prefix: shown(name) } : [])),
  };
}

interface Entry {
  /** A key, or a common prefix. */
  name: string;
  object: StoredObject | undefined;
}

function rollUp(objects: readonly StoredObject[], prefix: string, delimiter: string): Entry[] {
  const entries = new Map<string, Entry>();
  for (const object of objects) {
    if (!object.key.startsWith(prefix)) continue;
    const end = delimiter === "" ? -1 : object.key.indexOf(delimiter, prefix.length);
    if (end < 0) entries.set(object.key, { name: object.key, object });
    else {
      const name = object.key.slice(0, end + delimiter.length);
      entries.set(name, { name, object: undefined });
    }
  }
  return [...entries.values()];
}

/** In the order of the names' bytes; a common prefix that was given out already is not given again. */
function isAfter({ name }: Entry, after: string): boolean {
  return Buffer.compare(Buffer.from(name), Buffer.from(after)) > 0;
}
