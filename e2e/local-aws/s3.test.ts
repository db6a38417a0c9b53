import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutObjectAclCommand,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { AssumeRoleWithWebIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { startIssuer, type TestIssuer } from "../harness/issuer.ts";
import { type Policy, TAGS_CLAIM, trustPolicy, WALLET_TAG, walletPolicy } from "../harness/policies.ts";
import { createIam, type Iam } from "../harness/provision.ts";
import { type LocalAws, startLocalAws } from "./start.ts";

const A = `0x${"a".repeat(40)}`;
const B = `0x${"b".repeat(40)}`;
const bucket = "vault";

interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

let now = Date.UTC(2030, 0, 2, 3, 4, 5);
const clock = (): number => now;
let aws: LocalAws;
let issuer: TestIssuer;
let iam: Iam;
let sts: STSClient;
const clients: { destroy(): void }[] = [];

beforeAll(async () => {
  issuer = await startIssuer({ clock });
  aws = await startLocalAws({ clock });
  iam = createIam(aws, { systemClockOffset: now - Date.now() });
  await iam.createProvider(issuer.url, ["sts.amazonaws.com"]);
  await addRole("agent", walletPolicy({ bucket, dialect: "aws" }));
  sts = new STSClient({ endpoint: aws.url, region: "us-east-1", maxAttempts: 1 });
  clients.push(sts);
  await s3(aws.admin).send(new CreateBucketCommand({ Bucket: bucket }));
  for (const wallet of [A, B]) await put(s3(aws.admin), `bots/${wallet}/key`);
});
afterAll(async () => {
  for (const client of clients) client.destroy();
  await Promise.all([aws.close(), issuer.close()]);
});

async function addRole(name: string, policy?: Policy): Promise<void> {
  await iam.createRole(name, trustPolicy({ provider: iam.providerArn(issuer.url), issuer: issuer.url }));
  if (policy !== undefined) await iam.putRolePolicy(name, policy);
}

/** Credentials of a wallet's holder, whose token carries the tag unless told otherwise. */
async function credentialsOf(
  wallet: string | undefined,
  role = "agent",
  policy?: Policy,
): Promise<Required<Credentials>> {
  const tags = wallet === undefined ? {} : { [TAGS_CLAIM]: { principal_tags: { [WALLET_TAG]: [wallet] } } };
  const { Credentials: made } = await sts.send(
    new AssumeRoleWithWebIdentityCommand({
      RoleArn: iam.roleArn(role),
      RoleSessionName: "session",
      WebIdentityToken: await issuer.mint(tags),
      ...(policy === undefined ? {} : { Policy: JSON.stringify(policy) }),
    }),
  );
  return {
    accessKeyId: made!.AccessKeyId!,
    secretAccessKey: made!.SecretAccessKey!,
    sessionToken: made!.SessionToken!,
  };
}

function s3(credentials: Credentials): S3Client {
  const client = new S3Client({
    endpoint: aws.url,
    region: "us-east-1",
    forcePathStyle: true,
    credentials,
    maxAttempts: 1,
    systemClockOffset: now - Date.now(),
  });
  clients.push(client);
  return client;
}

async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "OK";
  } catch (error) {
    return (error as Error).name;
  }
}
const put = (client: S3Client, Key: string, Body = "x") =>
  outcome(client.send(new PutObjectCommand({ Bucket: bucket, Key, Body })));
const get = (client: S3Client, Key: string) => outcome(client.send(new GetObjectCommand({ Bucket: bucket, Key })));
const remove = (client: S3Client, Key: string) =>
  outcome(client.send(new DeleteObjectCommand({ Bucket: bucket, Key })));
const list = (client: S3Client, Prefix?: string) =>
  outcome(client.send(new ListObjectsV2Command({ Bucket: bucket, ...(Prefix === undefined ? {} : { Prefix }) })));

describe("two wallets under one role", () => {
  test("each reads, writes, lists and deletes its own, and is refused the other's", async () => {
    for (const [own, other] of [
      [A, B],
      [B, A],
    ] as const) {
      const client = s3(await credentialsOf(own));
      expect(await put(client, `bots/${own}/key`)).toBe("OK");
      expect(await get(client, `bots/${own}/key`)).toBe("OK");
      expect(await list(client, `bots/${own}/`)).toBe("OK");
      expect(await remove(client, `bots/${own}/gone`)).toBe("OK");
      expect(await put(client, `bots/${other}/key`)).toBe("AccessDenied");
      expect(await get(client, `bots/${other}/key`)).toBe("AccessDenied");
      expect(await list(client, `bots/${other}/`)).toBe("AccessDenied");
      expect(await list(client)).toBe("AccessDenied");
      expect(await remove(client, `bots/${other}/key`)).toBe("AccessDenied");
    }
  });

  test.each([`bots/${A}/../${B}/key`, `bots/${A}/%2e%2e/${B}/key`, `bots/${A}//${B}`])(
    "a key with tricks in it (%s) is a key of one's own",
    async (key) => {
      const client = s3(await credentialsOf(A));
      expect(await put(client, key)).toBe("OK");
      const keys = (await s3(aws.admin).send(new ListObjectsV2Command({ Bucket: bucket, Prefix: `bots/${A}/` })))
        .Contents;
      expect(keys?.map(({ Key }) => Key)).toContain(key);
      expect(await put(client, key.replace(A, B))).toBe("AccessDenied");
    },
  );

  test("calls that the role does not name are refused", async () => {
    const client = s3(await credentialsOf(A));
    expect(await outcome(client.send(new ListBucketsCommand({})))).toBe("AccessDenied");
    expect(await outcome(client.send(new CreateBucketCommand({ Bucket: "mine" })))).toBe("AccessDenied");
    expect(await outcome(client.send(new HeadBucketCommand({ Bucket: bucket })))).not.toBe("OK");
  });
});

describe("the isolation fails as it should when what carries it is taken away", () => {
  test("no tag in the token: not even one's own", async () => {
    const client = s3(await credentialsOf(undefined));
    expect([await put(client, `bots/${A}/key`), await put(client, "bots//key")]).toEqual([
      "AccessDenied",
      "AccessDenied",
    ]);
  });

  test("another tag value, in capitals or with a wildcard: nothing of A's", async () => {
    for (const wallet of [A.toUpperCase().replace("0X", "0x"), "0x", " "]) {
      expect(await put(s3(await credentialsOf(wallet)), `bots/${A}/key`)).toBe("AccessDenied");
    }
  });

  test("no variable in the policy: everybody reaches everybody", async () => {
    const open = walletPolicy({ bucket, dialect: "aws" });
    const text = JSON.stringify(open).replaceAll(`\${aws:PrincipalTag/${WALLET_TAG}}`, "*");
    await addRole("broad", JSON.parse(text) as Policy);
    expect(await put(s3(await credentialsOf(A, "broad")), `bots/${B}/key`)).toBe("OK");
  });

  test("no policy on the role: nobody reaches anything", async () => {
    await addRole("bare");
    expect(await put(s3(await credentialsOf(A, "bare")), `bots/${A}/key`)).toBe("AccessDenied");
  });

  test("a policy narrowed later holds for credentials that are out already", async () => {
    await addRole("narrowed", walletPolicy({ bucket, dialect: "aws" }));
    const client = s3(await credentialsOf(A, "narrowed"));
    expect(await put(client, `bots/${A}/key`)).toBe("OK");
    await iam.putRolePolicy("narrowed", { Version: "2012-10-17", Statement: [] });
    expect(await put(client, `bots/${A}/key`)).toBe("AccessDenied");
  });

  test("a session policy narrows and cannot widen", async () => {
    const only = (Action: string, key: string): Policy => ({
      Version: "2012-10-17",
      Statement: [{ Effect: "Allow", Action: [Action], Resource: [`arn:aws:s3:::${bucket}/${key}`] }],
    });
    const reader = s3(await credentialsOf(A, "agent", only("s3:GetObject", "*")));
    expect([await get(reader, `bots/${A}/key`), await put(reader, `bots/${A}/key`)]).toEqual(["OK", "AccessDenied"]);
    const grasping = s3(await credentialsOf(A, "agent", only("s3:*", "*")));
    expect(await get(grasping, `bots/${B}/key`)).toBe("AccessDenied");
  });
});

describe("temporary credentials", () => {
  test.each<[string, (c: Required<Credentials>) => Credentials, string]>([
    [
      "without their session token",
      ({ accessKeyId, secretAccessKey }) => ({ accessKeyId, secretAccessKey }),
      "InvalidAccessKeyId",
    ],
    ["with another secret", (c) => ({ ...c, secretAccessKey: `${c.secretAccessKey}x` }), "SignatureDoesNotMatch"],
    [
      "with a changed session token",
      (c) => ({ ...c, sessionToken: `${c.sessionToken.slice(0, -2)}AA` }),
      "InvalidToken",
    ],
    ["with another key id", (c) => ({ ...c, accessKeyId: "ASIA0000000000000000" }), "InvalidAccessKeyId"],
  ])("%s are refused", async (_, change, error) => {
    const credentials = await credentialsOf(A);
    expect(await put(s3(credentials), `bots/${A}/key`)).toBe("OK");
    expect(await put(s3(change(credentials)), `bots/${A}/key`)).toBe(error);
  });

  test("of A with the session token of B are refused", async () => {
    const [a, b] = [await credentialsOf(A), await credentialsOf(B)];
    expect(await put(s3({ ...a, sessionToken: b.sessionToken }), `bots/${B}/key`)).toBe("InvalidAccessKeyId");
  });

  test("end on their second", async () => {
    const credentials = await credentialsOf(A);
    now += 3_600_000 - 1;
    expect(await put(s3(credentials), `bots/${A}/key`)).toBe("OK");
    now += 1;
    expect(await put(s3(credentials), `bots/${A}/key`)).toBe("ExpiredToken");
  });

  test("may not administer the account", async () => {
    const { accessKeyId, secretAccessKey, sessionToken } = await credentialsOf(A);
    const admin = { accessKeyId, secretAccessKey, sessionToken };
    const other = createIam({ ...aws, admin }, { systemClockOffset: now - Date.now() });
    await expect(other.createRole("mine", { Version: "2012-10-17", Statement: [] })).rejects.toThrow("Access Denied");
  });

  test("outlive a restart with the same key, and no other", async () => {
    const key = new Uint8Array(32).fill(7);
    const first = await startLocalAws({ clock, key });
    const again = await startLocalAws({ clock, key });
    const stranger = await startLocalAws({ clock });
    const outcomes: string[] = [];
    try {
      const made = createIam(first, { systemClockOffset: now - Date.now() });
      await made.createProvider(issuer.url, ["sts.amazonaws.com"]);
      await made.createRole("agent", trustPolicy({ provider: made.providerArn(issuer.url), issuer: issuer.url }));
      const client = new STSClient({ endpoint: first.url, region: "us-east-1" });
      const { Credentials: c } = await client.send(
        new AssumeRoleWithWebIdentityCommand({
          RoleArn: made.roleArn("agent"),
          RoleSessionName: "session",
          WebIdentityToken: await issuer.mint(),
        }),
      );
      client.destroy();
      const credentials = {
        accessKeyId: c!.AccessKeyId!,
        secretAccessKey: c!.SecretAccessKey!,
        sessionToken: c!.SessionToken!,
      };
      for (const { url } of [again, stranger]) {
        const s3Client = new S3Client({
          endpoint: url,
          region: "us-east-1",
          credentials,
          forcePathStyle: true,
          systemClockOffset: now - Date.now(),
        });
        outcomes.push(await outcome(s3Client.send(new ListBucketsCommand({}))));
        s3Client.destroy();
      }
    } finally {
      await Promise.all([first.close(), again.close(), stranger.close()]);
    }
    expect(outcomes).toEqual(["AccessDenied", "InvalidToken"]);
  });

  test("are needed: a call without a signature is refused", async () => {
    expect((await fetch(`${aws.url}/${bucket}/bots/${A}/key`)).status).toBe(403);
  });
});

describe("objects", () => {
  test("come back as they were put", async () => {
    const client = s3(aws.admin);
    const Body = Buffer.from([0, 1, 255, 13, 10]);
    const Key = "odd/a b+é(1)'*~.bin";
    await client.send(new PutObjectCommand({ Bucket: bucket, Key, Body, ContentType: "application/x-odd" }));
    const answer = await client.send(new GetObjectCommand({ Bucket: bucket, Key }));
    expect(Buffer.from(await answer.Body!.transformToByteArray())).toEqual(Body);
    const head = await client.send(new HeadObjectCommand({ Bucket: bucket, Key }));
    expect([head.ContentType, head.ContentLength, head.ETag]).toEqual(["application/x-odd", 5, answer.ETag]);
  });

  test("that are not there: NoSuchKey for who may list, AccessDenied for who may not", async () => {
    expect(await get(s3(aws.admin), "nothing")).toBe("NoSuchKey");
    expect(await get(s3(await credentialsOf(A)), `bots/${A}/nothing`)).toBe("AccessDenied");
  });

  test("are listed in pages, in byte order, and rolled up at a delimiter", async () => {
    const admin = s3(aws.admin);
    await admin.send(new CreateBucketCommand({ Bucket: "pages" }));
    const names = ["a/1", "a/2", "b", "c/<&>", "ü"];
    for (const Key of names) await admin.send(new PutObjectCommand({ Bucket: "pages", Key, Body: "x" }));
    const seen: string[] = [];
    let ContinuationToken: string | undefined;
    do {
      const page = await admin.send(new ListObjectsV2Command({ Bucket: "pages", MaxKeys: 2, ContinuationToken }));
      seen.push(...(page.Contents ?? []).map(({ Key }) => Key!));
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    expect(seen).toEqual(names);
    const rolled = await admin.send(new ListObjectsV2Command({ Bucket: "pages", Delimiter: "/" }));
    expect(rolled.Contents?.map(({ Key }) => Key)).toEqual(["b", "ü"]);
    expect(rolled.CommonPrefixes?.map(({ Prefix }) => Prefix)).toEqual(["a/", "c/"]);
  });

  test("lie in buckets, which are listed with their age", async () => {
    const { Buckets } = await s3(aws.admin).send(new ListBucketsCommand({}));
    expect(Buckets?.find(({ Name }) => Name === bucket)?.CreationDate).toBeInstanceOf(Date);
  });

  test("cannot be had from a bucket that is not there, and no bucket is made twice", async () => {
    const admin = s3(aws.admin);
    expect(await outcome(admin.send(new GetObjectCommand({ Bucket: "nowhere", Key: "k" })))).toBe("NoSuchBucket");
    expect(await outcome(admin.send(new CreateBucketCommand({ Bucket: bucket })))).toBe("BucketAlreadyOwnedByYou");
    expect(await outcome(admin.send(new CreateBucketCommand({ Bucket: "No" })))).toBe("InvalidBucketName");
  });

  test("have no access lists here: what the stand-in does not do it says", async () => {
    const acl = new PutObjectAclCommand({ Bucket: bucket, Key: "k", ACL: "public-read" });
    expect(await outcome(s3(aws.admin).send(acl))).toBe("NotImplemented");
  });
});
