import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";

import { createLog } from "@agentkeys/lib/log";
import { randomSecret } from "@agentkeys/lib/random";
import { Secret } from "@agentkeys/lib/secret";

import type { Context } from "../context.ts";
import { cachedCredentials } from "../credentials/cached-credentials.ts";
import { serveCredentials } from "../credentials/delivery/container-endpoint.ts";
import { agentEnvironment } from "../credentials/delivery/environment.ts";
import { keepCredentials } from "../credentials/keeper.ts";
import { configuredRegion } from "../credentials/sts.ts";
import type { Io } from "../io.ts";
import { openMachine } from "../machine.ts";
import { Problem } from "../problem.ts";
import { requireRole } from "../settings.ts";

/**
 * `agentkeys exec -- COMMAND`: runs a command whose AWS SDKs get credentials from an endpoint in this process, fresh for as long as
 * it runs. Ends with the command's exit code, or 128 + the signal that ended it.
 */
export async function exec(context: Context, [command = "", ...args]: readonly string[]): Promise<number> {
  const { io, settings } = context;
  const aws = requireRole(settings.aws);
  // What the command says is not to be mixed with what we would.
  const log = createLog("agentkeys", {
    level: settings.logLevel === "debug" ? "debug" : "silent",
    destination: io.stderr,
  });
  const onTrouble = (problem: Problem): void => log.warn({ msg: "trouble", reason: problem.reason, why: problem.text });
  const keeper = keepCredentials({
    ...io,
    log,
    obtain: () => cachedCredentials(context, aws, onTrouble),
    sessions: openMachine(context, { onTrouble }).sessions,
  });
  try {
    await keeper.started;
    const first = await keeper.offer();
    if ("trouble" in first) throw new Problem(first.trouble.reason, first.trouble.kind, first.trouble.text);

    const token = randomSecret(io.random);
    const endpoint = await serveCredentials({
      listen: { host: "127.0.0.1", port: 0 },
      token: new Secret(token),
      offer: () => keeper.offer(),
    });
    try {
      const access = { url: endpoint.url, token: { value: token } };
      const env = agentEnvironment(io.env, access, await configuredRegion(io.env));
      return await run(command, args, env, io);
    } finally {
      await endpoint.close();
    }
  } finally {
    await keeper.close();
  }
}

/** Signals that are for the command. A terminal sends its own to the command too, so those are not passed on twice. */
const FORWARDED: NodeJS.Signals[] = ["SIGTERM", "SIGHUP", "SIGUSR2"];
const FROM_TERMINAL: NodeJS.Signals[] = ["SIGINT", "SIGQUIT"];

async function run(
  command: string,
  args: readonly string[],
  env: Record<string, string>,
  { signals, stdin }: Pick<Io, "signals" | "stdin">,
): Promise<number> {
  let child: ChildProcess | undefined;
  const forward = (signal: NodeJS.Signals): void => void child?.kill(signal);
  const leave = (): void => undefined;
  // Before the command starts: it may be up, and be told to stop, sooner than anything that comes after.
  for (const signal of FORWARDED) signals.on(signal, forward);
  for (const signal of FROM_TERMINAL) signals.on(signal, stdin.isTTY === true ? leave : forward);
  try {
    const started = spawn(command, args, { stdio: "inherit", env });
    child = started;
    return await new Promise<number>((resolve, reject) => {
      started.once("error", (error) => reject(notStarted(command, error)));
      started.once("exit", (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    });
  } finally {
    for (const signal of [...FORWARDED, ...FROM_TERMINAL]) signals.off(signal, forward);
    for (const signal of FROM_TERMINAL) signals.off(signal, leave);
  }
}

/** The exit codes are the shells': 127 for a command that is not there, 126 for one that cannot be run. */
function notStarted(command: string, cause: Error): Problem {
  const missing = "code" in cause && cause.code === "ENOENT";
  return missing
    ? new Problem("COMMAND_NOT_FOUND", "usage", `There is no command ${command}.`, { exitCode: 127, cause })
    : new Problem("COMMAND_NOT_RUN", "standing", `${command} cannot be run.`, { exitCode: 126, cause });
}
