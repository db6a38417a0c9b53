import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { UnsealRefused } from "../sealer.ts";
import type { AttestKey } from "./kms-sealer.ts";

/** A document is at most this large (KMS takes 262,144 bytes). */
const MAX_BYTES = 64 * 1024;
const TIMEOUT_MS = 10_000;

/** What the hypervisor puts into its document as it is: the options of `nitro-tpm-attest`. */
export type DocumentField = "public-key" | "user-data" | "nonce";

/**
 * Asks a program for the hypervisor's document: `nitro-tpm-attest` of AWS's NitroTPM-Tools on an instance, or one for enclaves with the
 * same options. It gets each field in a file (`--public-key FILE`, `--user-data FILE`, `--nonce FILE`) and writes the document to its standard
 * output. The program is part of the measured image; nothing secret passes through it. @throws Error
 */
export async function nitroDocument(
  program: string,
  fields: Partial<Record<DocumentField, Uint8Array>>,
): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), "agentkeys-attest-"));
  try {
    const args: string[] = [];
    for (const [name, bytes] of Object.entries(fields)) {
      const file = join(folder, name);
      await writeFile(file, bytes, { mode: 0o600 });
      args.push(`--${name}`, file);
    }
    return await output(program, args);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The same for a KMS, with a key in the document that the answer is encrypted to. @throws UnsealRefused DEVICE */
export function attestByProgram(program: string): AttestKey {
  return async (publicKey) => {
    try {
      return await nitroDocument(program, { "public-key": publicKey });
    } catch (error) {
      throw new UnsealRefused("DEVICE", `${program} gave no attestation document`, [], { cause: error });
    }
  };
}

function output(program: string, args: readonly string[]): Promise<Buffer> {
  const options = { encoding: "buffer", maxBuffer: MAX_BYTES, timeout: TIMEOUT_MS, env: {} } as const;
  return new Promise((resolve, reject) => {
    execFile(program, args, options, (error, stdout) => {
      if (error === null && stdout.length > 0) resolve(stdout);
      else reject(new Error(`${program} gave no attestation document`, { cause: error }));
    });
  });
}
