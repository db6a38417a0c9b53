import type { Io } from "./io.ts";
import type { Settings } from "./settings.ts";
import { openState, type State, stateFolder } from "./state/index.ts";

/** What a command is run with. */
export interface Context {
  io: Io;
  settings: Settings;
  /** Whether a program reads the output. */
  json: boolean;
}

/** What this machine keeps for the broker of the settings; for another one's it is refused. */
export function stateOf(context: Context): State {
  return openState(stateFolderOf(context), context.settings.brokerUrl);
}

export function stateFolderOf({ io, settings: { stateDir } }: Context): string {
  return stateFolder({ env: io.env, home: io.home, ...(stateDir !== undefined && { stateDir }) });
}
