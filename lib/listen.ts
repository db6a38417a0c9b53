import type { Server } from "node:net";

import { SettingsError } from "./settings/index.ts";
import type { ListenAddress } from "./settings/kinds.ts";

/** Nothing can listen at an address that a setting names; `code` is the system's, such as EADDRINUSE. */
export class ListenError extends SettingsError {
  constructor(
    readonly address: ListenAddress,
    readonly code: string,
  ) {
    const { host, port } = address;
    const shown = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    super([
      `${shown} cannot be listened at: ${WHY[code] ?? `the system says ${code}`}. AGENTKEYS_…_LISTEN sets another address.`,
    ]);
  }
}

const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program does already",
  EACCES: "this user may not",
  EADDRNOTAVAIL: "it is no address of this machine",
  ENOTFOUND: "no such host is known",
};

/** Resolves when `server` listens. @throws ListenError */
export function listenAt(server: Server, address: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => {
      reject(error.code === undefined ? error : new ListenError(address, error.code));
    };
    server.once("error", fail);
    server.listen(address.port, address.host, () => {
      server.off("error", fail);
      resolve();
    });
  });
}
