import type { HttpAnswer } from "../answer.ts";
import { AwsError } from "../aws-error.ts";
import type { Caller } from "../caller.ts";
import type { Registry } from "../iam/registry.ts";
import { isAllowed } from "../policy/decide.ts";
import { parsePolicy } from "../policy/document.ts";
import type { WireRequest } from "../sigv4.ts";
import { xmlDocument } from "../xml.ts";
import { parseAddress, type S3Address } from "./address.ts";
import type { Buckets, StoredObject } from "./buckets.ts";
import { listObjects } from "./listing.ts";

const NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/";
/** Query parameters that do not turn a call into another one. Anything else (`?acl`, `?tagging` …) is not implemented. */
const PLAIN_PARAMETERS = new Set([
  "x-id",
  "list-type",
  "prefix",
  "delimiter",
  "max-keys",
  "start-after",
  "continuation-token",
  "encoding-type",
  "fetch-owner",
]);

/** Does one S3 call for a caller whose signature was checked, if the caller's policies allow it. */
export function callS3(request: WireRequest, caller: Caller, d: { iam: Registry; buckets: Buckets }): HttpAnswer {
  const address = parseAddress(request.target);
  const may = (action: string): boolean => callerMay(caller, `s3:${action}`, address, d.iam);
  const demand = (action: string): void => {
    if (!may(action)) throw new AwsError("AccessDenied", 403, "Access Denied");
  };
  const unknown = [...address.query.keys()].find((name) => !PLAIN_PARAMETERS.has(name));
  if (unknown !== undefined || request.headers["x-amz-copy-source"] !== undefined) throw notImplemented();

  const { bucket: name, key } = address;
  if (name === undefined) {
    if (request.method !== "GET") throw notImplemented();
    demand("ListAllMyBuckets");
    const Bucket = d.buckets
      .list()
      .map(({ name: Name, createdAt }) => ({ Name, CreationDate: new Date(createdAt).toISOString() }));
    return xml("ListAllMyBucketsResult", { Buckets: { Bucket } });
  }
  if (key === undefined) return callBucket(request.method, name, address.query, demand, d.buckets);
  return callObject(request, { name, key }, { may, demand }, d.buckets);
}

function callBucket(
  method: string,
  name: string,
  query: URLSearchParams,
  demand: (action: string) => void,
  buckets: Buckets,
): HttpAnswer {
  if (method === "PUT") {
    demand("CreateBucket");
    buckets.create(name);
    return { status: 200, headers: { location: `/${name}` } };
  }
  demand("ListBucket");
  const bucket = buckets.bucket(name);
  if (method === "HEAD") return { status: 200 };
  if (method !== "GET" || query.get("list-type") !== "2") throw notImplemented();
  return xml("ListBucketResult", listObjects(name, bucket.list(), query));
}

function callObject(
  request: WireRequest,
  { name, key }: { name: string; key: string },
  { may, demand }: { may: (action: string) => boolean; demand: (action: string) => void },
  buckets: Buckets,
): HttpAnswer {
  switch (request.method) {
    case "PUT": {
      demand("PutObject");
      const contentType = request.headers["content-type"] ?? "binary/octet-stream";
      const object = buckets.bucket(name).put({ key, body: request.body, contentType });
      return { status: 200, headers: { etag: object.etag } };
    }
    case "DELETE":
      demand("DeleteObject");
      buckets.bucket(name).delete(key);
      return { status: 204 };
    case "GET":
    case "HEAD": {
      demand("GetObject");
      const object = buckets.bucket(name).get(key);
      if (object !== undefined) return objectAnswer(object);
      // Whether a key exists is for those to know who may list.
      if (!may("ListBucket")) throw new AwsError("AccessDenied", 403, "Access Denied");
      throw new AwsError("NoSuchKey", 404, "The specified key does not exist.");
    }
    default:
      throw notImplemented();
  }
}

/** A session may what its role's policies and, if it has one, its session policy both allow. */
function callerMay(caller: Caller, action: string, { bucket, key, query }: S3Address, iam: Registry): boolean {
  if (caller.kind === "admin") return true;
  const { session } = caller;
  const resource = bucket === undefined ? "*" : `arn:aws:s3:::${bucket}${key === undefined ? "" : `/${key}`}`;
  const context = new Map<string, readonly string[]>([
    ["aws:securetransport", ["false"]],
    ["aws:principalarn", [session.roleArn]],
    ["aws:userid", [session.userId]],
    ...Object.entries(session.tags).map(([tag, value]) => [`aws:principaltag/${tag}`.toLowerCase(), [value]] as const),
  ]);
  for (const name of ["prefix", "delimiter", "max-keys"]) {
    const value = query.get(name);
    if (value !== null) context.set(`s3:${name}`, [value]);
  }
  const request = { action, resource, context };
  // The role as it is now: what is taken from it is taken from live sessions too.
  const granted = [...(iam.findRole({ arn: session.roleArn })?.policies.values() ?? [])].flat();
  return (
    isAllowed(granted, request) &&
    (session.policy === undefined || isAllowed(parsePolicy(session.policy, "permissions"), request))
  );
}

function objectAnswer(object: StoredObject): HttpAnswer {
  return {
    status: 200,
    headers: {
      "content-type": object.contentType,
      etag: object.etag,
      "last-modified": new Date(object.modifiedAt).toUTCString(),
    },
    body: object.body,
  };
}

function xml(root: string, content: Parameters<typeof xmlDocument>[1]): HttpAnswer {
  return { status: 200, headers: { "content-type": "application/xml" }, body: xmlDocument(root, content, NAMESPACE) };
}

function notImplemented(): AwsError {
  return new AwsError("NotImplemented", 501, "This stand-in does not do that call.");
}
