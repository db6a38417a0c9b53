import { createHash, createHmac } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

import { type Clock, MINUTE } from "@agentkeys/lib/clock";
import { equalSecrets } from "@agentkeys/lib/secret";

import { AwsError } from "./aws-error.ts";

/** A request as it came over the wire; nothing in it was normalised. */
export interface WireRequest {
  method: string;
  /** Path and query, as sent. */
  target: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

export type Service = "s3" | "sts" | "iam" | "kms";

const MAX_SKEW_MS = 15 * MINUTE;
const HEADER =
  /^AWS4-HMAC-SHA256 +Credential=([^/,\s]+)\/(\d{8})\/([a-z0-9-]+)\/([a-z0-9]+)\/aws4_request, *SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})$/;

/**
 * Verifies a request's Signature Version 4 (Authorization header form) and gives what `find` knows about the access key. The
 * request must be signed over its host, its date, every `x-amz-` header it has, and its body, unless it says UNSIGNED-PAYLOAD.
 */
export async function verifySigV4<T extends { secretAccessKey: string }>(
  request: WireRequest,
  o: { service: Service; clock: Clock; find: (accessKeyId: string) => Promise<T> },
): Promise<T> {
  const { authorization } = request.headers;
  if (authorization === undefined) throw unsigned(o.service);
  const [, accessKeyId, day, region, service, signedHeaders, signature] = HEADER.exec(authorization) ?? [];
  if (!accessKeyId || !day || !region || !signedHeaders || !signature || service !== o.service) {
    throw new AwsError(
      o.service === "s3" ? "AuthorizationHeaderMalformed" : "IncompleteSignature",
      400,
      `The Authorization header must be AWS4-HMAC-SHA256 for the service ${o.service}.`,
    );
  }
  const date = checkDate(request.headers["x-amz-date"], day, o.clock());
  const names = signedHeaders.split(";");
  const unprotected = ["host", ...Object.keys(request.headers).filter((name) => name.startsWith("x-amz-"))];
  if (unprotected.some((name) => !names.includes(name))) {
    throw new AwsError("AccessDenied", 403, "There were headers present in the request which were not signed");
  }

  const found = await o.find(accessKeyId);
  const canonical = canonicalRequest(request, names, payloadHash(request, o.service));
  const scope = `${day}/${region}/${service}/aws4_request`;
  const toSign = ["AWS4-HMAC-SHA256", date, scope, sha256(canonical)].join("\n");
  const key = [day, region, service, "aws4_request"].reduce<string | Buffer>(hmac, `AWS4${found.secretAccessKey}`);
  if (!equalSecrets(hmac(key, toSign), Buffer.from(signature, "hex"))) {
    throw new AwsError(
      "SignatureDoesNotMatch",
      403,
      "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    );
  }
  return found;
}

function canonicalRequest({ method, target, headers }: WireRequest, names: readonly string[], hash: string): string {
  const [path = "/", query = ""] = target.split(/\?(.*)/s);
  const lines = names.map(
    (name) =>
      `${name}:${String(headers[name] ?? "")
        .trim()
        .replace(/ +/g, " ")}\n`,
  );
  return [method, path, canonicalQuery(query), lines.join(""), names.join(";"), hash].join("\n");
}

function canonicalQuery(query: string): string {
  const pairs = query.split("&").filter((pair) => pair !== "");
  return pairs
    .map((pair) => {
      const [name = "", value = ""] = pair.split(/=(.*)/s);
      return [encoded(name), encoded(value)] as const;
    })
    .sort(([a, x], [b, y]) => compare(a, b) || compare(x, y))
    .map(([name, value]) => `${name}=${value}`)
    .join("&");
}

/** Every byte but RFC 3986's unreserved characters as %XX, whatever of it the sender had escaped. */
function encoded(text: string): string {
  try {
    return encodeURIComponent(decodeURIComponent(text)).replace(
      /[!'()*]/g,
      (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
    );
  } catch {
    throw new AwsError("InvalidURI", 400, "Couldn't parse the specified URI.");
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** S3 signs the hash that a header names, which must then be the body's; the other services sign the body's hash. */
function payloadHash({ headers, body }: WireRequest, service: Service): string {
  const actual = sha256(body);
  if (service !== "s3") return actual;
  const named = headers["x-amz-content-sha256"];
  if (named === "UNSIGNED-PAYLOAD" || named === actual) return named;
  if (typeof named === "string" && named.startsWith("STREAMING-")) {
    throw new AwsError(
      "NotImplemented",
      501,
      "This stand-in takes no aws-chunked bodies: send a body of known length.",
    );
  }
  throw new AwsError(
    "XAmzContentSHA256Mismatch",
    400,
    "The provided 'x-amz-content-sha256' header does not match what was computed.",
  );
}

function checkDate(header: string | string[] | undefined, day: string, now: number): string {
  const [, y, m, d, h, min, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(String(header)) ?? [];
  const time = Date.parse(`${y ?? ""}-${m ?? ""}-${d ?? ""}T${h ?? ""}:${min ?? ""}:${s ?? ""}Z`);
  if (Number.isNaN(time) || !String(header).startsWith(day)) {
    throw new AwsError("AccessDenied", 403, "AWS authentication requires a valid Date or x-amz-date header");
  }
  if (Math.abs(now - time) > MAX_SKEW_MS) {
    throw new AwsError(
      "RequestTimeTooSkewed",
      403,
      "The difference between the request time and the current time is too large.",
    );
  }
  return String(header);
}

function unsigned(service: Service): AwsError {
  return service === "s3"
    ? new AwsError("AccessDenied", 403, "Access Denied")
    : new AwsError("MissingAuthenticationToken", 403, "Request is missing Authentication Token");
}

function sha256(data: string | Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}

function hmac(key: string | Buffer, data: string): Buffer {
  return createHmac("sha256", key).update(data).digest();
}
