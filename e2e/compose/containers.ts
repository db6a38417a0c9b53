import assert from "node:assert/strict";
import http from "node:http";
import https from "node:https";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";

import type { Narrator } from "../demo/narrator.ts";
import type { Trial } from "./trial.ts";

const READY_WITHIN_MS = 60_000;
/** The services with a volume. */
const KEEPS = new Set(["broker", "keys-tee"]);

/** Every container becomes ready, and can do no more than it needs to. */
export async function tryContainers(trial: Trial, say: Narrator): Promise<void> {
  say.heading("Containers");
  await untilReady(trial);
  for (const service of ["broker", "keys", "keys-tee", "mailbox"]) {
    const seen = await lookInside(trial, service);
    assert.notEqual(seen.user, 0, `${service} runs as root`);
    assert.match(seen.capabilities, /^0+$/, `${service} has capabilities`);
    assert.equal(seen.noNewPrivileges, "1", `${service} may gain privileges`);
    assert.deepEqual(seen.writable, KEEPS.has(service) ? ["/tmp", "/var/lib/agentkeys"] : ["/tmp"]);
    assert.deepEqual(
      seen.packages.filter((name) => !["libsql", "@libsql", "@neon-rs", "detect-libc"].includes(name)),
      [],
      `${service} has packages that it does not need`,
    );
    say.step(service, `ready; user ${seen.user}, no capabilities, read-only but for ${seen.writable.join(" and ")}`);
  }
}

/** Polls, as health checks do: not every engine tells when it thinks that a container is healthy. */
export async function untilReady({ brokerUrl, keysUrl, mailboxUrl, teeUrl }: Trial): Promise<void> {
  const end = Date.now() + READY_WITHIN_MS;
  for (const url of [mailboxUrl, brokerUrl, keysUrl, teeUrl]) {
    for (let trouble = await troubleAt(url); trouble !== undefined; trouble = await troubleAt(url)) {
      if (Date.now() > end) throw new Error(`${url} did not become ready: ${trouble}`);
      await delay(200);
    }
  }
}

async function troubleAt(url: string): Promise<string | undefined> {
  try {
    const { status, body } = await look(`${url}/readyz`);
    return status === 200 ? undefined : body;
  } catch (error) {
    return String(error);
  }
}

/** Nothing is sent: the TEE worker's certificate is its own, and what proves it is its evidence. */
async function look(url: string): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const get = url.startsWith("https:") ? https.get : http.get;
    get(url, { rejectUnauthorized: false }, (response) => {
      text(response).then((body) => {
        resolve({ status: response.statusCode, body });
      }, reject);
    }).once("error", reject);
  });
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
