import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
} from "@aws-sdk/client-s3";

import { type Dialect, type Policy, trustPolicy, walletPolicy, WALLET_TAG } from "./policies.ts";
import { type AdminAccess, createIam } from "./provision.ts";

/** A bucket in which every wallet has a place of its own, and the role that reaches it. */
export interface Vault {
  roleArn: string;
  bucket: string;
  /** Lets these wallets in. On AWS one policy holds for all that will ever be; Ceph needs a statement for each. */
  admit(wallets: readonly string[]): Promise<void>;
  /** Replaces the role's policy. */
  setPolicy(policy: Policy): Promise<void>;
}

/**
 * Sets up an account as an operator does on AWS: the provider, the role and whom it trusts, the bucket, the role's policy. `name`
 * tells several in one account apart; without `demandTag` the role lets tokens without the wallet's tag in too.
 */
export async function prepareVault(
  cloud: AdminAccess & { dialect: Dialect },
  issuer: string,
  { name = "agentkeys", demandTag = true }: { name?: string; demandTag?: boolean } = {},
): Promise<Vault> {
  const bucket = `${name}-vault`;
  const iam = createIam(cloud);
  await iam.createProvider(issuer, ["sts.amazonaws.com"]);
  const provider = iam.providerArn(issuer);
  const requiredTag = demandTag ? WALLET_TAG : undefined;
  await iam.createRole(name, trustPolicy({ provider, issuer, requiredTag, dialect: cloud.dialect }));
  const s3 = openS3(cloud.url, cloud.admin);
  await s3.send(new CreateBucketCommand({ Bucket: bucket }));
  s3.destroy();
  const setPolicy = (policy: Policy): Promise<void> => iam.putRolePolicy(name, policy);
  if (cloud.dialect === "aws") await setPolicy(walletPolicy({ bucket, dialect: "aws" }));
  return {
    roleArn: iam.roleArn(name),
    bucket,
    setPolicy,
    async admit(wallets) {
      if (cloud.dialect === "rgw") await setPolicy(walletPolicy({ bucket, dialect: "rgw", wallets }));
    },
  };
}

/** Where one wallet's data are. */
export function placeOf(wallet: string): string {
  return `bots/${wallet}/`;
}

export function openS3(url: string, credentials: NonNullable<S3ClientConfig["credentials"]>): S3Client {
  return new S3Client({ endpoint: url, region: "us-east-1", forcePathStyle: true, maxAttempts: 1, credentials });
}

/** What came of the three things that an agent does, each as `"OK"` or the error's name. */
export interface Attempts {
  put: string;
  get: string;
  list: string;
}

/** Writes, reads and lists in a wallet's place. */
export async function tryPlace(s3: S3Client, bucket: string, wallet: string): Promise<Attempts> {
  const Key = `${placeOf(wallet)}note.txt`;
  return {
    put: await outcome(s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body: "hello" }))),
    get: await outcome(s3.send(new GetObjectCommand({ Bucket: bucket, Key }))),
    list: await outcome(s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: placeOf(wallet) }))),
  };
}

async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "OK";
  } catch (error) {
    return error instanceof Error ? error.name : String(error);
  }
}
