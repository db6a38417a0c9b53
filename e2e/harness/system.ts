import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type RunningBroker, startBroker } from "@agentkeys/broker/start.ts";
import { startKeyService } from "@agentkeys/keys/start.ts";
import { type Clock, DAY, systemClock } from "@agentkeys/lib/clock";
import { createLog } from "@agentkeys/lib/log";
import type { RunningServer } from "@agentkeys/lib/rpc";
import { Secret } from "@agentkeys/lib/secret";
import type { Mail } from "@agentkeys/mailbox/inbox.ts";
import { startMailbox } from "@agentkeys/mailbox/start.ts";

/** The two services and a mail server, in this process, on free loopback ports. */
export interface System {
  broker: RunningBroker;
  keys: RunningServer;
  /** The next mail to this address that nobody took yet. */
  nextMail(address: string): Promise<Mail>;
  /** Every line that was logged, signatures included. */
  logged: readonly string[];
  close(): Promise<void>;
}

export interface SystemOptions {
  /** Stands before the broker; its URL is then the broker's public one. */
  front?: { url: string; forwardTo(brokerUrl: string): void } | undefined;
  clock?: Clock;
  /** 64 hex characters; random when absent. */
  masterSecret?: string;
}

/** How long a mail may take that was accepted on this machine. */
const MAIL_PATIENCE_MS = 20_000;

export async function startSystem({ front, clock = systemClock, masterSecret }: SystemOptions = {}): Promise<System> {
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-e2e-"));
  const logged: string[] = [];
  const log = (service: string) =>
    createLog(service, { level: "debug", destination: { write: (line) => void logged.push(line) } });
  const listen = { host: "127.0.0.1", port: 0 };

  const mailbox = await startMailbox({ smtpListen: listen, listen, log: log("mailbox") });
  const broker = await startBroker(
    {
      listen,
      store: join(folder, "broker.sqlite"),
      clientId: "agentkeys",
      smtpUrl: new Secret(mailbox.smtpUrl),
      mailFrom: "AgentKeys <agentkeys@example.com>",
      keyEncryptionKey: new Secret(new Uint8Array(randomBytes(32))),
      audiences: ["sts.amazonaws.com", "other.example"],
      renewableMs: 30 * DAY,
      trustedProxies: [],
      logLevel: "debug",
      ...(front && { publicUrl: front.url }),
    },
    { log: log("broker"), clock },
  );
  front?.forwardTo(broker.url);
  const keys = await startKeyService(
    {
      listen,
      masterSecret: masterSecret === undefined ? randomBytes(32) : Buffer.from(masterSecret, "hex"),
      broker: { url: broker.url, issuer: broker.publicUrl },
      signLog: join(folder, "signatures.log"),
      logLevel: "debug",
    },
    { log: log("keys"), clock },
  );

  let taken = 0;
  return {
    broker,
    keys,
    logged,
    async nextMail(address) {
      const mail = await mailbox.inbox.wait({ to: address, after: taken }, AbortSignal.timeout(MAIL_PATIENCE_MS));
      if (mail === undefined) throw new Error(`No mail came for ${address}`);
      taken = mail.id;
      return mail;
    },
    async close() {
      await keys.close();
      await broker.close();
      await mailbox.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
