import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type Cbor, decodeLeadingCbor, encodeCbor } from "@agentkeys/lib/evidence/cbor";
import { endorsementKey, nsmRequest, type Tpm } from "@agentkeys/lib/tpm2";

import { UnsealRefused } from "../sealer.ts";
import type { AttestKey } from "./kms-sealer.ts";

/** A document is at most this large (KMS takes 262,144 bytes). */
const MAX_BYTES = 64 * 1024;
const TIMEOUT_MS = 10_000;

/** What the hypervisor puts into its document as it is: the options of `nitro-tpm-attest`. */
export type DocumentField = "public-key" | "user-data" | "nonce";

/** Gives the hypervisor's document with these fields in it. @throws Error where there is none */
export type NitroDocuments = (fields: Partial<Record<DocumentField, Uint8Array>>) => Promise<Buffer>;

/**
 * Asks a program for the document: `nitro-tpm-attest` of AWS's NitroTPM-Tools on an instance, or one for enclaves with the same options. It
 * gets each field in a file (`--public-key FILE`, `--user-data FILE`, `--nonce FILE`) and writes the document to its standard output. The
 * program is part of the measured image; nothing secret passes through it.
 */
export function documentsByProgram(program: string): NitroDocuments {
  return async (fields) => {
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
  };
}

/** Asks the instance's NitroTPM, which needs no program: the request is that of AWS's nsm-api 0.5 (`Attestation`), in CBOR. */
export function documentsByTpm(tpm: Tpm): NitroDocuments {
  return async (fields) => {
    const field = (name: DocumentField): Buffer | null => {
      const value = fields[name];
      return value === undefined ? null : Buffer.from(value);
    };
    const asked: Cbor = new Map([
      ["user_data", field("user-data")],
      ["nonce", field("nonce")],
      ["public_key", field("public-key")],
    ]);
    const request = encodeCbor(new Map<string, Cbor>([["Attestation", asked]]));
    const answer = await tpm.use(async (t) => nsmRequest(t, await endorsementKey(t), request));
    return documentIn(decodeLeadingCbor(answer));
  };
}

/** `{"Attestation": {"document": …}}`, or `{"Error": …}` with one of its codes. */
function documentIn(answer: Cbor): Buffer {
  const attestation = answer instanceof Map ? (answer.get("Attestation") as Cbor | undefined) : undefined;
  const document = attestation instanceof Map ? (attestation.get("document") as Cbor | undefined) : undefined;
  if (Buffer.isBuffer(document)) return document;
  const error = answer instanceof Map ? (answer.get("Error") as Cbor | undefined) : undefined;
  const why = typeof error === "string" && /^[A-Za-z]{1,40}$/.test(error) ? `: ${error}` : "";
  throw new Error(`the NitroTPM gave no attestation document${why}`);
}

/** For a KMS, with a key in the document that the answer is encrypted to. @throws UnsealRefused DEVICE */
export function attestKeyIn(documents: NitroDocuments): AttestKey {
  return async (publicKey) => {
    try {
      return await documents({ "public-key": publicKey });
    } catch (error) {
      const why = error instanceof Error ? error.message : "there is no attestation document";
      throw new UnsealRefused("DEVICE", why, [], { cause: error });
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
