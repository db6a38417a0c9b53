import { createHmac } from "node:crypto";

import { equalSecrets } from "@agentkeys/lib/secret";

import { BootRefused } from "./boot-decision.ts";
import { deriveFor } from "./root-key.ts";
import type { RootKey } from "./sealer.ts";
import { systemFiles, type WholeFiles } from "./whole-files.ts";

/** The head of the sign log: how many entries, and their Merkle root in lower-case hex. */
export interface LogHead {
  size: bigint;
  root: string;
}

/** What a worker keeps on its disk. Nothing of it is secret; all of it is authenticated by a key that only the worker has. */
export interface TeeState {
  /** What kind of vault made the blob. */
  vault: string;
  /** The sealed root key. */
  blob: Uint8Array;
  /** When and in which boot it was made: for people. */
  createdAt: Date;
  createdBootId: string;
  /** What the log had reached when this was written; absent before the first checkpoint. */
  logHead?: LogHead;
  /** The NV counter that goes with this state; absent where the platform has none. */
  counter?: bigint;
}

/** The version of the file's form: another one is refused, not guessed at. */
const STATE_VERSION = 1;
const MAX_BYTES = 64 * 1024;

/** A state as it was read: to be believed only after `verify`. */
export interface ReadState {
  readonly unverified: TeeState;
  /** @throws BootRefused STATE_DAMAGED when the MAC is not by this root key. */
  verify(key: RootKey): Promise<TeeState>;
}

/** One JSON file, mode 0600, replaced as a whole. */
export interface StateFile {
  readonly path: string;
  /** `undefined` where there is none. @throws BootRefused STATE_DAMAGED for everything but a whole file of this version. */
  read(): Promise<ReadState | undefined>;
  /** On return it is on the disk; whatever happens before, the old one is. */
  write(state: TeeState, key: RootKey): Promise<void>;
}

export function createStateFile(path: string, files: WholeFiles = systemFiles): StateFile {
  return {
    path,
    read: async () => {
      const text = await files.read(path, MAX_BYTES);
      if (text === undefined) return undefined;
      const { state, mac } = parseState(text, path);
      return {
        unverified: state,
        verify: async (key) => {
          if (!equalSecrets(mac, await macOf(state, key))) {
            throw damaged(path, "was changed by something else than this worker: its MAC is not by the root key");
          }
          return state;
        },
      };
    },
    write: async (state, key) => {
      const mac = (await macOf(state, key)).toString("hex");
      await files.replace(path, JSON.stringify({ ...fieldsOf(state), mac }, null, 2) + "\n");
    },
  };
}

/** The fields of the file, in the one order that the MAC is made over. */
function fieldsOf(state: TeeState): Record<string, unknown> {
  return {
    version: STATE_VERSION,
    vault: state.vault,
    blob: Buffer.from(state.blob).toString("base64"),
    created_at: state.createdAt.toISOString(),
    created_boot_id: state.createdBootId,
    ...(state.logHead && { log_head: { size: String(state.logHead.size), root: state.logHead.root } }),
    ...(state.counter !== undefined && { nv_counter: String(state.counter) }),
  };
}

async function macOf(state: TeeState, key: RootKey): Promise<Buffer> {
  const macKey = await deriveFor(key, "state");
  try {
    return createHmac("sha256", macKey)
      .update(JSON.stringify(fieldsOf(state)))
      .digest();
  } finally {
    macKey.fill(0);
  }
}

function parseState(text: string, path: string): { state: TeeState; mac: Buffer } {
  const file = record(parseJson(text));
  if (file === undefined) throw damaged(path, "is no JSON object");
  if (file["version"] !== STATE_VERSION) throw damaged(path, "is of another version than this worker writes");
  const field = (from: Record<string, unknown>, name: string, pattern: RegExp): string => {
    const value = from[name];
    if (typeof value !== "string" || !pattern.test(value)) throw damaged(path, `has no proper ${name}`);
    return value;
  };
  const known = ["version", "vault", "blob", "created_at", "created_boot_id", "log_head", "nv_counter", "mac"];
  const stranger = Object.keys(file).find((name) => !known.includes(name));
  if (stranger !== undefined) throw damaged(path, "has a field that this worker does not write");
  const state: TeeState = {
    vault: field(file, "vault", /^[a-z0-9-]{1,64}$/),
    blob: Buffer.from(
      field(file, "blob", /^(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/),
      "base64",
    ),
    createdAt: new Date(field(file, "created_at", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)),
    createdBootId: field(file, "created_boot_id", /^[0-9a-f-]{1,64}$/),
  };
  if (Number.isNaN(state.createdAt.getTime())) throw damaged(path, "has no proper created_at");
  if (file["log_head"] !== undefined) {
    const head = record(file["log_head"]) ?? {};
    if (Object.keys(head).some((name) => name !== "size" && name !== "root"))
      throw damaged(path, "has no proper log_head");
    state.logHead = { size: BigInt(field(head, "size", DECIMAL)), root: field(head, "root", /^[0-9a-f]{64}$/) };
  }
  if (file["nv_counter"] !== undefined) state.counter = BigInt(field(file, "nv_counter", DECIMAL));
  return { state, mac: Buffer.from(field(file, "mac", /^[0-9a-f]{64}$/), "hex") };
}

const DECIMAL = /^(?:0|[1-9]\d{0,19})$/;

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function damaged(path: string, how: string): BootRefused {
  return new BootRefused("STATE_DAMAGED", `${path} ${how}: restore it from a backup`);
}
