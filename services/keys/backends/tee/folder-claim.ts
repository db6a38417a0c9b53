import { constants } from "node:fs";
import { type FileHandle, open, readdir, rename, rm } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";

import type { RandomBytes } from "@agentkeys/lib/random";

import { BootRefused } from "./boot-decision.ts";

/** That this process, and no other one of this machine, works in a folder. */
export interface FolderClaim {
  release(): Promise<void>;
}

/**
 * Keeps a second worker off a folder, by mistake started beside the first, in another container even: two would tear each other's sign log.
 * A claim is a socket in the folder that its process listens on. The kernel answers there for as long as the process lives, were it stopped
 * or busy, and refuses from the moment that it ends, however it ends: nobody ever has to clear a lock away, and no time has to pass.
 *
 * Each process first makes its own claim and then asks at all others. Names are never used twice, and a name appears when its socket listens
 * already, so that one that refuses is of a process that has ended. Of two that start at the same moment both may be refused; never do both go on.
 *
 * This is no guard against who has the disk: a copy of the folder can be used anywhere. The counters are.
 * @throws BootRefused IN_USE, Error where the folder takes no sockets
 */
export async function claimFolder(path: string, random: RandomBytes): Promise<FolderClaim> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  const own = `worker-${Buffer.from(random(16)).toString("hex")}.claim`;
  let server: Server | undefined;
  const release = async (): Promise<void> => {
    await rm(join(path, own), { force: true });
    await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
    await folder.close();
  };
  try {
    server = await listen(short(path, folder, `${own}.new`)).catch((error: unknown) => {
      throw new Error(
        `${path} takes no socket: the state has to be in a folder of this machine's own disk, and this user's`,
        {
          cause: error,
        },
      );
    });
    await rename(join(path, `${own}.new`), join(path, own));
    for (const name of await readdir(path)) {
      if (!CLAIM.test(name) || name === own) continue;
      if (await answers(short(path, folder, name))) throw inUse(path);
      await rm(join(path, name), { force: true });
    }
    return { release };
  } catch (error) {
    await release();
    throw error;
  }
}

const CLAIM = /^worker-[0-9a-f]{32}\.claim$/;

/** A socket's path has at most 107 bytes, and a longer one is cut without a word: by the open folder's number it is always short. */
function short(path: string, folder: FileHandle, name: string): string {
  return process.platform === "linux" ? `/proc/self/fd/${folder.fd}/${name}` : join(path, name);
}

async function listen(path: string): Promise<Server> {
  const server = createServer((caller) => caller.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
  });
  server.on("error", () => undefined); // of a single accept(2), such as EMFILE: the kernel goes on answering
  return server.unref();
}

/** Whether its process lives. Only a clear refusal says that it does not. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const caller = connect(path);
    caller.once("connect", () => {
      caller.destroy();
      resolve(true);
    });
    caller.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code !== "ECONNREFUSED" && code !== "ENOENT"));
  });
}

function inUse(path: string): BootRefused {
  return new BootRefused(
    "IN_USE",
    `another worker that runs on this machine uses ${path}, and two would damage its sign log: stop that one first, or give this one a ` +
      "folder of its own, and a TPM",
  );
}
