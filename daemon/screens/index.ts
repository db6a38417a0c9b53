import type { Context } from "../context.ts";
import type { InitScreen } from "./init-screen.ts";

export type { InitScreen };

/** For programs, for a person at a terminal, or for whoever reads plain lines. */
export async function openInitScreen(context: Context): Promise<InitScreen> {
  const { io, json, settings } = context;
  if (json) return (await import("./json-init-screen.ts")).jsonInitScreen(io);
  if (io.stdout.isTTY === true && io.stdin.isTTY === true) {
    return (await import("./terminal-init-screen.ts")).terminalInitScreen(io, settings.brokerUrl);
  }
  return (await import("./plain-init-screen.ts")).plainInitScreen(io, settings.brokerUrl);
}
