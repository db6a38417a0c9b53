import type { Io } from "./io.ts";
import { type KeyServiceRoute, keyServiceRoute } from "./key-service.ts";
import type { Settings } from "./settings.ts";
import { openState, type State, stateFolder } from "./state/index.ts";

/** What a command is run with. */
export interface Context {
  io: Io;
  settings: Settings;
  /** Whether a program reads the output. */
  json: boolean;
  /** The one way to the key service, for everything that this command does there. */
  keyService: KeyServiceRoute;
}

export function createContext(io: Io, settings: Settings, json: boolean): Context {
  return { io, settings, json, keyService: keyServiceRoute(settings, stateFolderOf({ io, settings }), io) };
}

/** What this machine keeps for the broker of the settings; for another one's it is refused. */
export function stateOf(context: Context): State {
  return openState(stateFolderOf(context), context.settings.brokerUrl);
}

export function stateFolderOf({ io, settings: { stateDir } }: Pick<Context, "io" | "settings">): string {
  return stateFolder({ env: io.env, home: io.home, ...(stateDir !== undefined && { stateDir }) });
}
