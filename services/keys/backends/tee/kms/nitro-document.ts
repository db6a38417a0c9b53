import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { UnsealRefused } from "../sealer.ts";
import type { AttestKey } from "./kms-sealer.ts";

/** A document is at most this large (KMS takes 262,144 bytes). */
const MAX_BYTES = 64 * 1024;
const TIMEOUT_MS = 10_000;

/**
 * Asks a program for the hypervisor's document: `nitro-tpm-attest` of AWS's NitroTPM-Tools on an instance, or one for enclaves with the
 * same options. It gets the public key in a file (`--public-key FILE`) and writes the document to its standard output. The program is part of
 * the measured image; nothing secret passes through it. @throws UnsealRefused DEVICE
 */
export function attestByProgram(program: string): AttestKey {
  return async (publicKey) => {
    const folder = await mkdtemp(join(tmpdir(), "agentkeys-attest-"));
    try {
      const file = join(folder, "public-key.der");
      await writeFile(file, publicKey, { mode: 0o600 });
      return await output(program, ["--public-key", file]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
}

function output(program: string, args: readonly string[]): Promise<Buffer> {
  const options = { encoding: "buffer", maxBuffer: MAX_BYTES, timeout: TIMEOUT_MS, env: {} } as const;
  return new Promise((resolve, reject) => {
    execFile(program, args, options, (error, stdout) => {
      if (error === null && stdout.length > 0) resolve(stdout);
      else reject(new UnsealRefused("DEVICE", `${program} gave no attestation document`, [], { cause: error }));
    });
  });
}
