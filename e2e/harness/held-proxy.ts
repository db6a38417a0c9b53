import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";

/** A proxy that keeps requests waiting for as long as a test wants: a service that is slow, or hangs up. */
export interface HeldProxy {
  url: string;
  forwardTo(upstream: string): void;
  /** Resolves when a request has come since the last `release` or `hangUp`. */
  reached(): Promise<void>;
  /** Passes on what waits, and all that comes after. */
  release(): void;
  /** Breaks off what waits. */
  hangUp(): void;
  close(): Promise<void>;
}

export async function startHeldProxy(): Promise<HeldProxy> {
  let upstream: string | undefined;
  let held = true;
  let waiting: { pass: () => void; drop: () => void }[] = [];
  let tell: () => void = () => undefined;
  let reached = new Promise<void>((resolve) => (tell = resolve));
  const server = createServer((incoming, outgoing) => {
    const pass = (): void => {
      const { method, headers, url } = incoming;
      if (upstream === undefined) return void outgoing.destroy();
      const call = request(new URL(upstream), { method, headers, path: url }, (response) => {
        outgoing.writeHead(response.statusCode ?? 502, response.headers);
        response.pipe(outgoing);
      });
      call.on("error", () => outgoing.destroy());
      incoming.pipe(call);
    };
    if (!held) pass();
    else waiting.push({ pass, drop: () => outgoing.destroy() });
    tell();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const next = (): typeof waiting => {
    const those = waiting;
    waiting = [];
    reached = new Promise((resolve) => (tell = resolve));
    return those;
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    forwardTo: (url) => (upstream = url),
    reached: () => reached,
    release() {
      held = false;
      for (const { pass } of next()) pass();
    },
    hangUp() {
      for (const { drop } of next()) drop();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
