/**
 * Tries the images and the compose file for real, in a copy of the project with its own settings, ports and volumes:
 *
 *     npm run try-compose                        with `docker compose`
 *     npm run try-compose -- podman-compose      or with another command that does the same
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createNarrator } from "../demo/narrator.ts";
import { createCleanup } from "../harness/cleanup.ts";
import { prepareTrial } from "./trial.ts";
import { tryContainers } from "./containers.ts";
import { trySettings } from "./settings.ts";
import { trySignIn } from "./sign-in.ts";

// The S3 client here is the trial's own; its note on what Node it will want is nothing to the person who tries.
process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] = "true";

const given = process.argv.slice(2);
const command = given.length > 0 ? given : ["docker", "compose"];
const say = createNarrator(process.stdout);
const cleanup = createCleanup(process);
try {
  say.title(`AgentKeys in containers, by ${command.join(" ")}`);
  const trial = await prepareTrial(command, process.env);
  cleanup.add(() => trial.remove());
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-trial-state-"));
  cleanup.add(() => rmSync(folder, { recursive: true, force: true }));

  await trySettings(trial, say);
  const secrets = [...readFileSync(join(trial.folder, ".env"), "utf8").matchAll(/=([0-9a-f]{64})$/gm)].map(
    ([, value]) => value ?? "",
  );
  cleanup.add(async () => {
    await trial.compose("down", "-v");
  });
  say.heading("Building the images, which takes a while");
  await trial.compose("up", "-d", "--build");
  await tryContainers(trial, say);
  await trySignIn(trial, say, { folder, secrets, env: process.env });
  say.done("All of it works.");
} catch (error) {
  say.failed(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
} finally {
  await cleanup.run();
}
