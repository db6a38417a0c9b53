import { createAdaptorServer } from "@hono/node-server";
import type { AddressInfo } from "node:net";

import { type Clock, systemClock } from "@agentkeys/lib/clock";
import { listenAt } from "@agentkeys/lib/listen";
import type { Logger } from "@agentkeys/lib/log";
import type { ListenAddress } from "@agentkeys/lib/settings/kinds";

import { createInbox, type Inbox } from "./inbox.ts";
import { startReceiver } from "./receiver.ts";
import { createWeb } from "./web.ts";

/** How many mails are kept. */
const CAPACITY = 200;

export interface RunningMailbox {
  /** The page and the JSON API. */
  url: string;
  /** What goes into `AGENTKEYS_BROKER_SMTP_URL`. */
  smtpUrl: string;
  inbox: Inbox;
  close(): Promise<void>;
}

/**
 * Starts the development mailbox: a mail server that keeps what it gets in memory and shows it to anyone who asks. DEV
 * ONLY. @throws ListenError
 */
export async function startMailbox(o: {
  smtpListen: ListenAddress;
  listen: ListenAddress;
  log: Logger;
  clock?: Clock;
}): Promise<RunningMailbox> {
  const inbox = createInbox(CAPACITY);
  const receiver = await startReceiver({ listen: o.smtpListen, inbox, clock: o.clock ?? systemClock, log: o.log });
  const server = createAdaptorServer({ fetch: createWeb(inbox).fetch });
  const closeWeb = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      if ("closeAllConnections" in server) server.closeAllConnections();
    });
  try {
    await listenAt(server, o.listen);
  } catch (error) {
    await receiver.close();
    throw error;
  }
  const url = `http://${authority(o.listen.host, (server.address() as AddressInfo).port)}`;
  const smtpUrl = `smtp://${authority(o.smtpListen.host, receiver.port)}`;
  o.log.warn({ msg: "DEV ONLY: this mailbox shows everybody's mail to everybody and sends nothing on" });
  o.log.info({ msg: "listening", url, smtp_url: smtpUrl });
  return {
    url,
    smtpUrl,
    inbox,
    async close() {
      await Promise.all([closeWeb(), receiver.close()]);
    },
  };
}

function authority(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
