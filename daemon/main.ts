/** The `agentkeys` program. The only file here that reads the environment. */
import { hostname, homedir } from "node:os";

import { systemClock } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";

import { run } from "./cli.ts";
import { systemSleep } from "./io.ts";

const env = { ...process.env };
// Written for developers, and on the standard error of every `agentkeys creds` it would only be in the way.
process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] = "true";

// Whoever reads our output may stop to; that is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

process.exitCode = await run(process.argv.slice(2), {
  env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signals: process,
  clock: systemClock,
  random: systemRandom,
  sleep: systemSleep,
  home: homedir(),
  hostname: hostname(),
});
