import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import type { Narrator } from "../demo/narrator.ts";
import type { Trial } from "./trial.ts";

const run = promisify(execFile);

/** Without secrets nothing starts; `make-env` makes them, once, for the owner's eyes only. */
export async function trySettings(trial: Trial, say: Narrator): Promise<void> {
  say.heading("Settings");
  await assert.rejects(trial.compose("ps"), /npm run make-env/, "compose must stop where a secret is missing");
  say.step("no secrets", "compose stops and says what to do");

  await makeEnv(trial);
  const mode = statSync(join(trial.folder, ".env")).mode & 0o777;
  assert.equal(mode, 0o600, ".env must be readable by its owner alone");
  await assert.rejects(makeEnv(trial), /stays as it is/, "make-env must not replace an .env");
  say.step("make-env", "wrote .env (0600) with fresh secrets, and does not touch it again");

  const { BROKER_PORT, KEYS_PORT, MAILBOX_PORT, KEYS_TEE_PORT } = trial.ports;
  await trial.set({
    BROKER_PORT: String(BROKER_PORT),
    KEYS_PORT: String(KEYS_PORT),
    MAILBOX_PORT: String(MAILBOX_PORT),
    KEYS_TEE_PORT: String(KEYS_TEE_PORT),
    AGENTKEYS_BROKER_PUBLIC_URL: trial.brokerUrl,
    AGENTKEYS_KEYS_PUBLIC_URL: trial.keysUrl,
  });
}

async function makeEnv(trial: Trial): Promise<void> {
  await run("npm", ["run", "--silent", "make-env"], { cwd: trial.folder });
}
