import { AccountService } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";
import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import type { ServiceImpl } from "@connectrpc/connect";

import { createLog } from "../../log.ts";
import { Readiness, type RunningServer, serve, type ServeOptions } from "../index.ts";

/** What a test may set of a toy server. */
export interface ToyOptions extends Partial<Omit<ServeOptions, "log">> {
  keys?: Partial<ServiceImpl<typeof KeyService>>;
  account?: Partial<ServiceImpl<typeof AccountService>>;
}

export interface ToyServer extends RunningServer, AsyncDisposable {
  readiness: Readiness;
  /** Every log line so far, parsed. */
  logged: Record<string, unknown>[];
  /** The same as one text, to search for what must not be there. */
  logText(): string;
  /** Resolves with the first line, past or to come, that fits. */
  nextLog(fits: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
}

/** A valid `omni_account`. */
export const ACCOUNT = "ab".repeat(32);

/**
 * A server on a free loopback port with handlers that compute nothing: it derives `0x` and the account's first 40 characters, and
 * "signs" with the message itself. Debug lines are logged too.
 */
export async function startToy(options: ToyOptions = {}): Promise<ToyServer> {
  const { keys, account, readiness = new Readiness(), ...rest } = options;
  const logged: Record<string, unknown>[] = [];
  const watchers = new Set<() => void>();
  const write = (text: string): void => {
    logged.push(JSON.parse(text) as Record<string, unknown>);
    for (const watcher of watchers) watcher();
  };
  const server = await serve({
    service: "toy",
    listen: { host: "127.0.0.1", port: 0 },
    services: [KeyService, AccountService],
    routes: (router) => {
      router.service(KeyService, {
        deriveAddress: ({ omniAccount }) => ({ address: `0x${omniAccount.slice(0, 40)}`, keyVersion: 0 }),
        signMessage: ({ messageHex }) => ({ signature: messageHex, keyVersion: 1 }),
        ...keys,
      });
      router.service(AccountService, {
        listEvents: ({ pageSize, pageToken }) => ({ nextPageToken: `${pageSize} ${pageToken}` }),
        ...account,
      });
    },
    readiness,
    log: createLog("toy", { level: "debug", destination: { write } }),
    ...rest,
  });
  return {
    ...server,
    readiness,
    logged,
    logText: () => JSON.stringify(logged),
    nextLog: (fits) =>
      new Promise((resolve) => {
        const look = (): void => {
          const line = logged.find(fits);
          if (line === undefined) return;
          watchers.delete(look);
          resolve(line);
        };
        watchers.add(look);
        look();
      }),
    [Symbol.asyncDispose]: () => server.close(),
  };
}
