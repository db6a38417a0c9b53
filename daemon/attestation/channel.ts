import type { Clock } from "@agentkeys/lib/clock";
import type { Http2Connections } from "@agentkeys/lib/rpc";

import { Problem } from "../problem.ts";
import { type Connection, openConnection } from "./connection.ts";

/** What a channel needs to know. */
export interface ChannelOptions {
  url: string;
  /**
   * Appraises the other end by what it answers on this connection, and rejects when it is not what it should be. Nothing else has been
   * sent on the connection, nor will be unless this resolves.
   */
  attest: (connection: Connection) => Promise<void>;
  /** How long an appraisal holds on a connection, in milliseconds. */
  reattestAfterMs: () => number;
  clock: Clock;
  /** How a connection is opened. Default: really. */
  open?: (url: string) => Promise<Connection>;
}

/**
 * Requests to a key service, each on a connection that was attested beforehand: every new connection, and one that is in use again after
 * a while. What was attested and what carries the request is the same socket, so that there is no moment between the two.
 */
export function attestedChannel(options: ChannelOptions): Http2Connections {
  const { url, attest, reattestAfterMs, clock, open = openConnection } = options;
  let attested: { connection: Connection; at: number } | undefined;
  let attesting: Promise<Connection> | undefined;

  const isDue = (at: number): boolean => {
    const age = clock() - at;
    // A clock that was put back says nothing about how long ago it was.
    return age < 0 || age >= reattestAfterMs();
  };

  const attestOnce = async (connection: Connection): Promise<Connection> => {
    const at = clock();
    try {
      await attest(connection);
    } catch (error) {
      connection.close();
      throw error;
    }
    attested = { connection, at };
    return connection;
  };

  const renewed = async (): Promise<Connection> => {
    const kept = attested?.connection;
    attested = undefined;
    if (kept?.isOpen === true) {
      try {
        return await attestOnce(kept);
      } catch (error) {
        // One that broke while nobody looked, as in a machine that slept, is no verdict on the key service.
        if (error instanceof Problem) throw error;
      }
    }
    return await attestOnce(await open(url));
  };

  const current = async (): Promise<Connection> => {
    if (attested?.connection.isOpen === true && !isDue(attested.at)) return attested.connection;
    attesting ??= renewed().finally(() => (attesting = undefined));
    return await attesting;
  };

  return {
    authority: new URL(url).origin,
    // A connection that ends between the two fails the request; the next one opens another.
    request: async (...args) => await (await current()).request(...args),
  };
}
