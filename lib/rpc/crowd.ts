import type { Server, Socket } from "node:net";

import type { Limits } from "./limits.ts";
import { networkOf } from "./source-network.ts";

/**
 * Keeps room for others: a connection beyond what all, or what one source may have at a time is closed before it costs anything. A process
 * that has no descriptor left could open none of its own files.
 */
export function limitConnections(server: Server, { connections }: Pick<Limits, "connections">): void {
  server.maxConnections = connections.ofAll;
  const bySource = new Map<string, number>();
  server.on("connection", (socket: Socket) => {
    const source = networkOf(socket.remoteAddress ?? "");
    const open = bySource.get(source) ?? 0;
    if (open >= connections.ofOne) {
      socket.destroy();
      return;
    }
    bySource.set(source, open + 1);
    socket.once("close", () => {
      const left = (bySource.get(source) ?? 1) - 1;
      if (left === 0) bySource.delete(source);
      else bySource.set(source, left);
    });
  });
}
