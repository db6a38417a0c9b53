import { describe, expect, test } from "vitest";

import { verifySigV4, type WireRequest } from "./sigv4.ts";

// The example of "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)" in AWS's S3 reference.
const secretAccessKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const example: WireRequest = {
  method: "GET",
  target: "/test.txt",
  headers: {
    host: "examplebucket.s3.amazonaws.com",
    range: "bytes=0-9",
    "x-amz-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "x-amz-date": "20130524T000000Z",
    authorization:
      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  },
  body: Buffer.alloc(0),
};
const DAY = Date.UTC(2013, 4, 24);

const verify = (request: WireRequest, now = DAY, service: "s3" | "sts" = "s3") =>
  verifySigV4(request, {
    service,
    clock: () => now,
    find: (accessKeyId) => Promise.resolve({ accessKeyId, secretAccessKey }),
  });
const withHeaders = (headers: Record<string, string | undefined>): WireRequest => ({
  ...example,
  headers: { ...example.headers, ...headers },
});

describe("Signature Version 4", () => {
  test("AWS's own example verifies", async () => {
    expect(await verify(example)).toMatchObject({ accessKeyId: "AKIAIOSFODNN7EXAMPLE" });
  });

  test.each<[string, WireRequest]>([
    ["method", { ...example, method: "PUT" }],
    ["path", { ...example, target: "/test.tx" }],
    ["query", { ...example, target: "/test.txt?acl" }],
    ["signed header", withHeaders({ range: "bytes=0-8" })],
    ["host", withHeaders({ host: "other.s3.amazonaws.com" })],
    ["date", withHeaders({ "x-amz-date": "20130524T000001Z" })],
    ["region", withHeaders({ authorization: example.headers.authorization!.replace("us-east-1", "eu-west-1") })],
  ])("another %s does not", async (_, request) => {
    await expect(verify(request)).rejects.toMatchObject({ code: "SignatureDoesNotMatch", status: 403 });
  });

  test("another body does not", async () => {
    await expect(verify({ ...example, body: Buffer.from("x") })).rejects.toMatchObject({
      code: "XAmzContentSHA256Mismatch",
    });
  });

  test("an x-amz header that was added on the way is refused", async () => {
    await expect(verify(withHeaders({ "x-amz-security-token": "t" }))).rejects.toMatchObject({ code: "AccessDenied" });
  });

  test("is good for a quarter of an hour to either side", async () => {
    const quarter = 15 * 60_000;
    await verify(example, DAY + quarter);
    await verify(example, DAY - quarter);
    await expect(verify(example, DAY + quarter + 1)).rejects.toMatchObject({ code: "RequestTimeTooSkewed" });
    await expect(verify(example, DAY - quarter - 1)).rejects.toMatchObject({ code: "RequestTimeTooSkewed" });
  });

  test("for one service is not good for another", async () => {
    await expect(verify(example, DAY, "sts")).rejects.toMatchObject({ code: "IncompleteSignature" });
  });

  test.each([
    ["no header", undefined, "AccessDenied"],
    ["another scheme", "Bearer abc", "AuthorizationHeaderMalformed"],
    [
      "half a header",
      "AWS4-HMAC-SHA256 Credential=a/20130524/us-east-1/s3/aws4_request",
      "AuthorizationHeaderMalformed",
    ],
  ])("%s is refused", async (_, authorization, code) => {
    await expect(verify(withHeaders({ authorization }))).rejects.toMatchObject({ code });
  });

  test("a date that is none, or of another day than the scope, is refused", async () => {
    await expect(verify(withHeaders({ "x-amz-date": "yesterday" }))).rejects.toMatchObject({ code: "AccessDenied" });
    await expect(verify(withHeaders({ "x-amz-date": "20130525T000000Z" }))).rejects.toMatchObject({
      code: "AccessDenied",
    });
  });

  test("a body in chunks is refused in words", async () => {
    const request = withHeaders({ "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER" });
    await expect(verify(request)).rejects.toMatchObject({ code: "NotImplemented", status: 501 });
  });
});
