import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";

import { freePorts } from "@agentkeys/e2e/harness/free-port.ts";
import { createLog } from "@agentkeys/lib/log";
import type { Inbox } from "@agentkeys/mailbox/inbox.ts";
import { startMailbox } from "@agentkeys/mailbox/start.ts";

import { type ServiceProcess, startProcess } from "./service-process.ts";

const root = join(import.meta.dirname, "..");

/** Broker and key service in processes of their own, at most one core each, and a mail server in this one. */
export interface Bed {
  broker: ServiceProcess;
  keys: ServiceProcess;
  /** The yardstick, on the same core as the key service. */
  noop: ServiceProcess;
  inbox: Inbox;
  /** For files that go away with the bed. */
  folder: string;
  close(): Promise<void>;
}

/** `allowances: "endless"` takes the broker's rate limits away; it then runs from source instead of from its bundle. */
export async function makeBed(o: { allowances: "default" | "endless" }): Promise<Bed> {
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-bench-"));
  const mailbox = await startMailbox({
    smtpListen: { host: "127.0.0.1", port: 0 },
    listen: { host: "127.0.0.1", port: 0 },
    log: createLog("mailbox", { level: "error" }),
  });
  const port = await freePorts(3);
  const brokerUrl = `http://127.0.0.1:${port}`;
  const keysUrl = `http://127.0.0.1:${port + 1}`;

  const broker = await startProcess({
    args:
      o.allowances === "default"
        ? [join(root, "dist/broker/main.js")]
        : ["--import", "tsx", join(root, "bench/endless-broker.ts")],
    url: brokerUrl,
    logFile: join(folder, "broker.log"),
    core: 0,
    env: {
      AGENTKEYS_BROKER_LISTEN: `127.0.0.1:${port}`,
      AGENTKEYS_BROKER_STORE: join(folder, "broker.sqlite"),
      AGENTKEYS_BROKER_SMTP_URL: mailbox.smtpUrl,
      AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY: randomBytes(32).toString("hex"),
    },
  });
  const keys = await startProcess({
    args: [join(root, "dist/keys/main.js")],
    url: keysUrl,
    logFile: join(folder, "keys.log"),
    core: availableParallelism() - 1,
    env: {
      AGENTKEYS_KEYS_LISTEN: `127.0.0.1:${port + 1}`,
      AGENTKEYS_KEYS_BROKER_URL: brokerUrl,
      AGENTKEYS_KEYS_SIGN_LOG: join(folder, "signatures.log"),
      DEV_KEY_SERVICE_MASTER_SECRET: randomBytes(32).toString("hex"),
    },
  });
  const noop = await startProcess({
    args: ["--import", "tsx", join(root, "bench/noop-server.ts"), `127.0.0.1:${port + 2}`],
    url: `http://127.0.0.1:${port + 2}`,
    logFile: join(folder, "noop.log"),
    core: availableParallelism() - 1,
    env: {},
  });
  return {
    broker,
    keys,
    noop,
    inbox: mailbox.inbox,
    folder,
    async close() {
      await noop.stop();
      await keys.stop();
      await broker.stop();
      await mailbox.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
