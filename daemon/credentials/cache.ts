import { createHash } from "node:crypto";
import { join } from "node:path";

import { Secret } from "@agentkeys/lib/secret";

import { readPrivateFile, writePrivateFile } from "../state/private-file.ts";
import type { AwsCredentials } from "./aws-credentials.ts";

/** What credentials are for. Ones for anything else are never handed out in their place. */
export interface Purpose {
  brokerUrl: string;
  omniAccount: string;
  walletAddress: string;
  roleArn: string;
  sessionSeconds: number;
  /** Where STS is, as far as the environment says. */
  sts: string;
}

/**
 * Credentials kept in the state folder between runs of `agentkeys creds`, which every AWS SDK starts anew for each process: a file
 * for each purpose, readable by its owner alone.
 */
export interface CredentialCache {
  /** What is kept, expired or not; `undefined` also when the file cannot be made sense of. @throws Problem STATE_* */
  read(): Promise<AwsCredentials | undefined>;
  /** The caller holds the lock `lockName`. @throws Problem STATE_UNUSABLE */
  write(credentials: AwsCredentials): Promise<void>;
  readonly lockName: string;
}

export function openCache(folder: string, purpose: Purpose): CredentialCache {
  const name = `credentials-${createHash("sha256").update(canonical(purpose)).digest("hex").slice(0, 16)}`;
  const path = join(folder, `${name}.json`);
  return {
    lockName: name,
    async read() {
      const text = await readPrivateFile(path);
      return text === undefined ? undefined : parse(text, purpose);
    },
    async write(credentials) {
      const record = {
        purpose: canonical(purpose),
        ...credentials,
        secretAccessKey: credentials.secretAccessKey.reveal(),
        sessionToken: credentials.sessionToken.reveal(),
      };
      await writePrivateFile(path, JSON.stringify(record) + "\n");
    },
  };
}

function canonical(p: Purpose): string {
  return JSON.stringify([p.brokerUrl, p.omniAccount, p.walletAddress, p.roleArn, p.sessionSeconds, p.sts]);
}

/** A cache that is damaged, or of another version, is as good as none. */
function parse(text: string, purpose: Purpose): AwsCredentials | undefined {
  const record = parseObject(text);
  const { accessKeyId, secretAccessKey, sessionToken, obtainedAt, expiresAt } = record;
  if (record["purpose"] !== canonical(purpose)) return undefined;
  if (!isText(accessKeyId) || !isText(secretAccessKey) || !isText(sessionToken)) return undefined;
  if (typeof obtainedAt !== "number" || typeof expiresAt !== "number") return undefined;
  return {
    accessKeyId,
    secretAccessKey: new Secret(secretAccessKey),
    sessionToken: new Secret(sessionToken),
    obtainedAt,
    expiresAt,
  };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
