import { execFile, execFileSync } from "node:child_process";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { promisify } from "node:util";

import { startLocalCloud } from "@agentkeys/e2e/harness/cloud.ts";
import { plainBrowser } from "@agentkeys/e2e/harness/plain-browser.ts";
import { prepareVault } from "@agentkeys/e2e/harness/vault.ts";

import { makeBed } from "./bed.ts";
import { median } from "./footprint.ts";

const TIMES = 21;
const program = join(import.meta.dirname, "..", "daemon", "dist", "agentkeys.js");

/** Wall times in milliseconds, the medians of alternating runs. */
export interface ProgramTime {
  /** `agentkeys creds` with credentials at hand. */
  credsMs: number;
  /** `node -e 0`: what any program in JavaScript takes. */
  nodeMs: number;
}

export async function measureProgram(): Promise<ProgramTime> {
  const bed = await makeBed({ allowances: "default" });
  const cloud = await startLocalCloud();
  try {
    const vault = await prepareVault(cloud, bed.broker.url);
    const env = {
      PATH: process.env["PATH"],
      AGENTKEYS_BROKER_URL: bed.broker.url,
      AGENTKEYS_KEYS_URL: bed.keys.url,
      AGENTKEYS_STATE_DIR: join(bed.folder, "state"),
      AGENTKEYS_AWS_ROLE_ARN: vault.roleArn,
      AWS_ENDPOINT_URL_STS: cloud.url,
      AWS_REGION: "us-east-1",
    };
    const run = (...args: string[]) => promisify(execFile)(process.execPath, [program, ...args], { env });
    const initialised = run("init", "--email", "ada@example.com");
    const mail = await bed.inbox.wait({ to: "ada@example.com" }, AbortSignal.timeout(20_000));
    await plainBrowser().confirm(mail?.links[0] ?? "");
    await initialised;
    await run("creds");

    const creds: number[] = [];
    const bare: number[] = [];
    for (let i = 0; i < TIMES; i++) {
      creds.push(wallTime([program, "creds"], env));
      bare.push(wallTime(["-e", "0"], env));
    }
    return { credsMs: median(creds), nodeMs: median(bare) };
  } finally {
    await cloud.close();
    await bed.close();
  }
}

function wallTime(args: readonly string[], env: NodeJS.ProcessEnv): number {
  const start = performance.now();
  execFileSync(process.execPath, args, { env, stdio: ["ignore", "ignore", "inherit"] });
  return performance.now() - start;
}
