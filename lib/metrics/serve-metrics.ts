import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

import type { Registry } from "prom-client";

import { listenAt } from "../listen.ts";
import type { Logger } from "../log.ts";
import { isLoopback } from "../settings/kinds.ts";

/** Answers `GET /metrics`, and nothing else. */
export interface MetricsServer {
  url: string;
  close(): Promise<void>;
}

/**
 * Serves a registry at an address of its own, apart from what the world reaches: what is in it names nobody, but is nobody's business
 * either.
 * @throws ListenError
 */
export async function serveMetrics(o: {
  listen: { host: string; port: number };
  registry: Registry;
  log: Logger;
}): Promise<MetricsServer> {
  const { listen, registry, log } = o;
  const server = createServer((request, response) => {
    const isScrape = request.url === "/metrics" && (request.method === "GET" || request.method === "HEAD");
    if (!isScrape || isFromWebPage(request, listen.host)) {
      response.writeHead(isScrape ? 403 : 404).end();
      return;
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { "content-type": registry.contentType }).end(text),
      (error: unknown) => {
        log.error({ err: error }, "the metrics could not be collected");
        response.writeHead(500).end();
      },
    );
  });
  server.requestTimeout = 10_000;
  await listenAt(server, listen);
  const { port } = server.address() as AddressInfo;
  const url = `http://${listen.host.includes(":") ? `[${listen.host}]` : listen.host}:${port}/metrics`;
  log.info({ url }, "metrics");
  return {
    url,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/**
 * A web page in this machine's browser is no scraper. It gives itself away by Origin; one that had its name resolved to loopback (DNS
 * rebinding) asks its own origin, without that header, and by Host.
 */
function isFromWebPage({ headers: { origin, host } }: IncomingMessage, listensOn: string): boolean {
  const named = host?.replace(/:\d+$/, "");
  return origin !== undefined || (isLoopback(listensOn) && named !== undefined && !isLoopback(named));
}
