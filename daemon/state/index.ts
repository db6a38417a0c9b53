import { readdir } from "node:fs/promises";
import { join } from "node:path";

import { Problem } from "../problem.ts";
import { checkFolder, makeFolder } from "./folder.ts";
import { damaged, readPrivateFile, removePrivateFile, writePrivateFile } from "./private-file.ts";
import { type Enrolment, formatRecord, parseRecord } from "./record.ts";
import { unusable } from "./trouble.ts";

export { stateFolder } from "./folder.ts";
export type { EnrolledIdentity, Enrolment, IdentitySession } from "./record.ts";

/** This machine's enrolment as it is kept in the state folder, for one broker. */
export interface State {
  readonly folder: string;
  /** What is kept; `undefined` when nobody is signed in. @throws Problem STATE_* */
  read(): Promise<Enrolment | undefined>;
  /** The same, for whoever can do nothing without it. @throws Problem NOT_SIGNED_IN, STATE_* */
  require(): Promise<Enrolment>;
  /**
   * Replaces what is kept by what `change` makes of it (`undefined`: leaves it), alone among all processes. The folder is known to
   * be writable when `change` is called, so that what it does elsewhere is not lost. @throws Problem STATE_*, what `change` throws
   */
  update(change: (kept: Enrolment | undefined) => Promise<Enrolment | undefined>): Promise<Enrolment | undefined>;
  /**
   * Removes everything that is kept, whatever it is, alone among all processes. `farewell` is called before with what was kept, or
   * why that cannot be read. @throws Problem STATE_BUSY, STATE_UNUSABLE
   */
  clear(farewell: (kept: Enrolment | Problem | undefined) => Promise<void>): Promise<void>;
}

const FILE = "state.json";

/** `brokerUrl`: the only broker whose state is accepted; absent: any. Opening neither makes nor reads anything. */
export function openState(folder: string, brokerUrl?: string): State {
  const path = join(folder, FILE);

  const read = async (): Promise<Enrolment | undefined> => {
    if (!(await checkFolder(folder))) return undefined;
    const text = await readPrivateFile(path);
    if (text === undefined) return undefined;
    const record = parseRecord(text);
    if (!("fault" in record)) {
      if (brokerUrl !== undefined && record.brokerUrl !== brokerUrl)
        throw otherBroker(folder, record.brokerUrl, brokerUrl);
      return record;
    }
    throw record.fault === "damaged" ? damaged(path) : otherVersion(path, record.version);
  };

  return {
    folder,
    read,
    async require() {
      const kept = await read();
      if (kept !== undefined) return kept;
      throw notSignedIn();
    },
    async update(change) {
      await makeFolder(folder);
      // Loaded when needed: most runs of `agentkeys creds` change nothing.
      const { withLock } = await import("./lock.ts");
      return await withLock(folder, "state", async (lock) => {
        const kept = await read();
        await rehearse(folder);
        const next = await change(kept);
        if (next === undefined) return kept;
        lock.check();
        await writePrivateFile(path, formatRecord(next));
        return next;
      });
    },
    async clear(farewell) {
      if (!(await checkFolder(folder))) {
        await farewell(undefined);
        return;
      }
      const { withLock } = await import("./lock.ts");
      await withLock(folder, "state", async (lock) => {
        await farewell(await read().catch(unreadable));
        lock.check();
        for (const name of await filesIn(folder)) await removePrivateFile(join(folder, name));
      });
    },
  };
}

/** Nobody has signed in here, or they signed out. */
export function notSignedIn(): Problem {
  return new Problem("NOT_SIGNED_IN", "sign-in", "Nobody is signed in on this machine.", {
    remedy: "Run `agentkeys init`.",
  });
}

/** What nobody can read can still be removed; what others may have read is for the person to look at first. */
function unreadable(error: unknown): Problem {
  if (error instanceof Problem && ["STATE_DAMAGED", "STATE_VERSION"].includes(error.reason)) return error;
  throw error;
}

/** The state file, cached credentials, what was seen of sign logs, and what a killed process left of either; not the locks, nor a running daemon's token. */
async function filesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) =>
      /^(state|(credentials|sign-log)-[0-9a-f]+)\.json(\.new)?$/.test(name),
    );
  } catch (error) {
    throw unusable(folder, error);
  }
}

/** Writes as much as a record takes, and removes it again. */
async function rehearse(folder: string): Promise<void> {
  const path = join(folder, "rehearsal");
  await writePrivateFile(path, " ".repeat(16 * 1024));
  await removePrivateFile(path);
}

function otherBroker(folder: string, kept: string, asked: string): Problem {
  return new Problem(
    "STATE_OTHER_BROKER",
    "configuration",
    `This machine is signed in at ${kept}, but AGENTKEYS_BROKER_URL is ${asked}.`,
    {
      remedy: `Set AGENTKEYS_BROKER_URL to ${kept}, or AGENTKEYS_STATE_DIR to another folder than ${folder}, or run \`agentkeys logout\` first.`,
    },
  );
}

function otherVersion(path: string, version: string): Problem {
  return new Problem(
    "STATE_VERSION",
    "configuration",
    `${path} was written by another version of agentkeys (form ${version}).`,
    {
      remedy: "Use that version, or run `agentkeys logout` to remove it, then `agentkeys init` to sign in anew.",
    },
  );
}
