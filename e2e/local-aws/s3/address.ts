import { AwsError } from "../aws-error.ts";

/** What a path-style S3 URL names. */
export interface S3Address {
  bucket: string | undefined;
  /** Any characters at all: `..` and `//` in a key mean nothing. */
  key: string | undefined;
  query: URLSearchParams;
}

/** Reads `/bucket/key?query` as it was sent. A URL parser would resolve `..`, and so change which key is meant. */
export function parseAddress(target: string): S3Address {
  const [path = "", query = ""] = target.split(/\?(.*)/s);
  const [, bucket = "", key = ""] = /^\/([^/]*)\/?(.*)$/s.exec(path) ?? [];
  try {
    return {
      bucket: bucket === "" ? undefined : decodeURIComponent(bucket),
      key: key === "" ? undefined : decodeURIComponent(key),
      query: new URLSearchParams(query),
    };
  } catch {
    throw new AwsError("InvalidURI", 400, "Couldn't parse the specified URI.");
  }
}
