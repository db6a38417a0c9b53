import { join } from "node:path";

import { createLog } from "@agentkeys/lib/log";
import { randomSecret } from "@agentkeys/lib/random";
import { Secret } from "@agentkeys/lib/secret";

import type { Context } from "../context.ts";
import { serveCredentials } from "../credentials/delivery/container-endpoint.ts";
import { endpointVariables } from "../credentials/delivery/environment.ts";
import { keepCredentials } from "../credentials/keeper.ts";
import type { SignalSource } from "../io.ts";
import { assumeRoleFor, fetchCredentials, openMachine } from "../machine.ts";
import { answer, isoTime } from "../output.ts";
import { Problem, problemOf } from "../problem.ts";
import { requireRole } from "../settings.ts";
import { makeFolder } from "../state/folder.ts";
import { type HeldLock, takeLock } from "../state/lock.ts";
import { removePrivateFile, writePrivateFile } from "../state/private-file.ts";

const TOKEN_FILE = "daemon-token";

/**
 * `agentkeys daemon`: keeps credentials fresh and serves them on loopback to everything on this machine that can read its token file,
 * until it is told to stop. Being signed out, revoked or cut off does not end it: it says so, and goes on when that is over.
 */
export async function daemon(context: Context): Promise<void> {
  const { io, settings } = context;
  const aws = requireRole(settings.aws);
  const log = createLog("agentkeys", { level: settings.logLevel, destination: io.stderr });
  const machine = openMachine(context, {
    onRenewed: ({ expiresAt }) => log.info({ msg: "session renewed", expires_at: isoTime(expiresAt) }),
    onTrouble: ({ reason, text }) => log.warn({ msg: "session not renewed yet", reason, why: text }),
  });
  const { folder } = machine.state;
  await makeFolder(folder);
  // State that no waiting will put right is told at the start.
  await machine.state.read();

  const lock = await takeDaemonLock(folder);
  const token = randomSecret(io.random);
  const tokenFile = join(folder, TOKEN_FILE);
  const keeper = keepCredentials({
    ...io,
    log,
    obtain: () => fetchCredentials(machine, assumeRoleFor(context, aws)),
    sessions: machine.sessions,
  });
  try {
    await writePrivateFile(tokenFile, token);
    const endpoint = await serveCredentials({
      listen: settings.listen,
      token: new Secret(token),
      offer: () => keeper.offer(),
    });
    const variables = endpointVariables({ url: endpoint.url, token: { file: tokenFile } });
    answer(context, { url: endpoint.url, token_file: tokenFile, environment: variables }, [
      "# AWS's SDKs find the credentials by these; endpoint and token file are for this user only.",
      ...Object.entries(variables).map(([name, value]) => `export ${name}=${shellQuoted(value)}`),
    ]);
    log.info({ msg: "listening", url: endpoint.url });
    const signal = await stopSignal(io.signals);
    log.info({ msg: "stopping", signal });
    await endpoint.close();
  } finally {
    await keeper.close();
    await removePrivateFile(tokenFile);
    await lock.release();
  }
}

/** A second daemon would take the first one's token file away. */
async function takeDaemonLock(folder: string): Promise<HeldLock> {
  try {
    return await takeLock(folder, "daemon", 0);
  } catch (error) {
    const problem = problemOf(error);
    if (problem.reason !== "STATE_BUSY") throw problem;
    throw new Problem("DAEMON_RUNS", "configuration", `Another agentkeys daemon already serves from ${folder}.`, {
      remedy:
        "Use that one, or set AGENTKEYS_STATE_DIR to another folder. One that was killed is forgotten within 10 seconds.",
    });
  }
}

function stopSignal(signals: SignalSource): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const stop = (signal: NodeJS.Signals): void => {
      signals.off("SIGTERM", stop);
      signals.off("SIGINT", stop);
      resolve(signal);
    };
    signals.on("SIGTERM", stop);
    signals.on("SIGINT", stop);
  });
}

function shellQuoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
