import { createServer, type AddressInfo } from "node:net";

/**
 * The first of `count` neighbouring ports that are free on loopback at this moment, for programs that cannot be given port 0.
 * Somebody else may take one before it is used: the caller tries again with others.
 */
export async function freePorts(count = 1): Promise<number> {
  for (;;) {
    const first = await listenAndClose(0);
    if (first === undefined) continue;
    const rest = await Promise.all(Array.from({ length: count - 1 }, (_, i) => listenAndClose(first + i + 1)));
    if (!rest.includes(undefined)) return first;
  }
}

function listenAndClose(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => {
      const { port: taken } = server.address() as AddressInfo;
      server.close(() => resolve(taken));
    });
  });
}
