import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

import type { RandomBytes } from "@agentkeys/lib/random";

/**
 * Reads 32 secret bytes, as hex, from a file for its owner alone; makes them where there is no such file yet. Throws when the file
 * holds anything else: making new ones in its place would lose what hangs on the old.
 */
export function keptSecret(path: string, random: RandomBytes): { hex: string; made: boolean } {
  const fresh = Buffer.from(random(32)).toString("hex");
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  let made = true;
  try {
    writeFileSync(path, `${fresh}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    made = false;
  }
  chmodSync(path, 0o600);
  const hex = readFileSync(path, "utf8").trim();
  if (!/^[0-9a-f]{64}$/.test(hex)) throw new Error(`${path} must hold 64 hex characters; remove it to start anew`);
  return { hex, made };
}
