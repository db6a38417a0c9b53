import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";

import type { Narrator } from "../demo/narrator.ts";
import type { Trial } from "./trial.ts";

const READY_WITHIN_MS = 60_000;

/** Every container becomes ready, and can do no more than it needs to. */
export async function tryContainers(trial: Trial, say: Narrator): Promise<void> {
  say.heading("Containers");
  await untilReady(trial);
  for (const service of ["broker", "keys", "mailbox"]) {
    const seen = await lookInside(trial, service);
    assert.notEqual(seen.user, 0, `${service} runs as root`);
    assert.match(seen.capabilities, /^0+$/, `${service} has capabilities`);
    assert.equal(seen.noNewPrivileges, "1", `${service} may gain privileges`);
    assert.deepEqual(seen.writable, service === "broker" ? ["/tmp", "/var/lib/agentkeys"] : ["/tmp"]);
    assert.deepEqual(
      seen.packages.filter((name) => !["libsql", "@libsql", "@neon-rs", "detect-libc"].includes(name)),
      [],
      `${service} has packages that it does not need`,
    );
    say.step(service, `ready; user ${seen.user}, no capabilities, read-only but for ${seen.writable.join(" and ")}`);
  }
}

/** Polls, as health checks do: not every engine tells when it thinks that a container is healthy. */
export async function untilReady({ brokerUrl, keysUrl, mailboxUrl }: Trial): Promise<void> {
  const end = Date.now() + READY_WITHIN_MS;
  for (const url of [mailboxUrl, brokerUrl, keysUrl]) {
    for (let trouble = await troubleAt(url); trouble !== undefined; trouble = await troubleAt(url)) {
      if (Date.now() > end) throw new Error(`${url} did not become ready: ${trouble}`);
      await delay(200);
    }
  }
}

async function troubleAt(url: string): Promise<string | undefined> {
  try {
    const response = await fetch(`${url}/readyz`);
    return response.ok ? undefined : await response.text();
  } catch (error) {
    return String(error);
  }
}

interface Inside {
  user: number;
  capabilities: string;
  noNewPrivileges: string;
  writable: string[];
  packages: string[];
}

/** What the first process of the container is and may do. */
async function lookInside(trial: Trial, service: string): Promise<Inside> {
  const script = `
    const fs = require("fs");
    const status = fs.readFileSync("/proc/1/status", "utf8");
    const of = (name) => new RegExp("^" + name + ":\\\\s+(\\\\S+)", "m").exec(status)[1];
    const mayWrite = (folder) => {
      try { fs.writeFileSync(folder + "/probe", ""); fs.unlinkSync(folder + "/probe"); return true; } catch { return false; }
    };
    const list = (folder) => (fs.existsSync(folder) ? fs.readdirSync(folder) : []);
    console.log(JSON.stringify({
      user: Number(of("Uid")),
      capabilities: of("CapEff"),
      noNewPrivileges: of("NoNewPrivs"),
      writable: ["/", "/app", "/etc", "/home/node", "/tmp", "/usr/bin", "/var/lib/agentkeys"].filter(mayWrite),
      packages: list("/app/node_modules"),
    }));`;
  const output = await trial.compose("exec", "-T", service, "node", "-e", script);
  const line = output.split("\n").find((text) => text.startsWith("{"));
  if (line === undefined) throw new Error(`${service} does not say what it may do: ${output}`);
  return JSON.parse(line) as Inside;
}
