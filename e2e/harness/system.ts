import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { BrokerSettings } from "@agentkeys/broker/settings.ts";
import { type BrokerDependencies, type RunningBroker, startBroker } from "@agentkeys/broker/start.ts";
import { startKeyService } from "@agentkeys/keys/start.ts";
import { type Clock, DAY, systemClock } from "@agentkeys/lib/clock";
import { createLog } from "@agentkeys/lib/log";
import type { RunningServer } from "@agentkeys/lib/rpc";
import { Secret } from "@agentkeys/lib/secret";
import type { Mail } from "@agentkeys/mailbox/inbox.ts";
import { startMailbox } from "@agentkeys/mailbox/start.ts";

import { startTeeKeys, type TeeKeys } from "./tee-keys.ts";
import { createUndoStack, type UndoStack } from "./undo-stack.ts";

/** The two services and a mail server, in this process, on free loopback ports. */
export interface System {
  broker: RunningBroker;
  keys: RunningServer;
  /** The TEE worker behind `keys`, where one was asked for. */
  tee?: TeeKeys;
  /** Starts another key service for the same broker's sessions; it ends with the system. */
  startKeys(o: { masterSecret?: string; publicUrl?: string }): Promise<RunningServer>;
  /** The mail server's. */
  smtpUrl: string;
  /** The next sign-in mail to this address that nobody took yet. */
  nextMail(address: string): Promise<Mail>;
  /** The next mail that tells this address what happened to its account. */
  nextNotice(address: string): Promise<Mail>;
  /** Every line that was logged, signatures included. */
  logged: readonly string[];
  close(): Promise<void>;
}

export interface SystemOptions {
  /** Stands before the broker; its URL is then the broker's public one. */
  front?: { url: string; forwardTo(brokerUrl: string): void } | undefined;
  clock?: Clock;
  /** Other limits than the broker's own, which count in real time whatever the clock says. */
  allowances?: BrokerDependencies["allowances"];
  /** 64 hex characters; random when absent. */
  masterSecret?: string;
  /** Where people may sign in beside their mailbox. */
  providers?: BrokerSettings["providers"];
  /** Whose X-Forwarded-For the broker believes: everybody comes from this machine, and limits count by address. */
  trustedProxies?: readonly string[];
  /** Where its folder is made. */
  scratch?: string;
  /** The TEE worker on a software TPM instead of the development backend, and further settings of it. */
  tee?: Record<string, string>;
}

/** How long a mail may take that was accepted on this machine. */
const MAIL_PATIENCE_MS = 20_000;

export async function startSystem(options: SystemOptions = {}): Promise<System> {
  const undo = createUndoStack();
  try {
    return await start(options, undo);
  } catch (error) {
    await undo.run();
    throw error;
  }
}

async function start(
  {
    front,
    clock = systemClock,
    allowances,
    masterSecret,
    providers = [],
    trustedProxies = [],
    scratch = tmpdir(),
    tee: teeSettings,
  }: SystemOptions,
  undo: UndoStack,
): Promise<System> {
  const folder = mkdtempSync(join(scratch, "agentkeys-e2e-"));
  undo.add(() => rmSync(folder, { recursive: true, force: true }));
  const logged: string[] = [];
  const log = (service: string) =>
    createLog(service, { level: "debug", destination: { write: (line) => void logged.push(line) } });
  const listen = { host: "127.0.0.1", port: 0 };

  const mailbox = await startMailbox({ smtpListen: listen, listen, log: log("mailbox") });
  undo.add(() => mailbox.close());
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
      providers,
      dormantAfterMs: 180 * DAY,
      historyMs: 400 * DAY,
      trustedProxies,
      logLevel: "debug",
      ...(front && { publicUrl: front.url }),
    },
    { log: log("broker"), clock, ...(allowances && { allowances }) },
  );
  undo.add(() => broker.close());
  front?.forwardTo(broker.url);
  const startKeys = async (o: { masterSecret?: string | undefined; publicUrl?: string }): Promise<RunningServer> => {
    const keys = await startKeyService(
      {
        listen,
        masterSecret: o.masterSecret === undefined ? randomBytes(32) : Buffer.from(o.masterSecret, "hex"),
        broker: { url: broker.url, issuer: broker.publicUrl },
        signLog: join(folder, "signatures.log"),
        logLevel: "debug",
        ...(o.publicUrl !== undefined && { publicUrl: o.publicUrl }),
      },
      { log: log("keys"), clock },
    );
    undo.add(() => keys.close());
    return keys;
  };
  const tee =
    teeSettings && (await startTeeKeys({ broker, scratch: folder, env: teeSettings, log: log("keys"), clock }));
  if (tee !== undefined) undo.add(() => tee.close());
  const keys = tee ?? (await startKeys({ masterSecret }));

  /** By path and address, in lower case as mailboxes compare, the last mail that was taken. */
  const taken = new Map<string, number>();
  const next = async (address: string, linkTo: string): Promise<Mail> => {
    const kind = `${linkTo} ${address.toLowerCase()}`;
    const filter = { to: address, after: taken.get(kind), linkTo };
    const mail = await mailbox.inbox.wait(filter, AbortSignal.timeout(MAIL_PATIENCE_MS));
    if (mail === undefined) throw new Error(`No mail came for ${address}`);
    taken.set(kind, mail.id);
    return mail;
  };
  return {
    broker,
    keys,
    ...(tee && { tee }),
    startKeys,
    smtpUrl: mailbox.smtpUrl,
    logged,
    nextMail: (address) => next(address, "/login"),
    nextNotice: (address) => next(address, "/notice"),
    close: () => undo.run(),
  };
}
