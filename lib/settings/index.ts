/**
 * Settings come from environment variables and are read once, in `main.ts`: `readSettings` turns them into one typed
 * object, or says in one line per mistake which variable is wrong and what it should be. An `AGENTKEYS_…` name that the
 * program does not know is a mistake too: it is most often a typing error, and a setting that silently does nothing is a hole.
 */
export interface Setting<T> {
  /** One line for `--help` and the documentation. */
  readonly describe: string;
  /** Turns the text into a value or throws a `SettingError` with what is expected, never repeating a secret value. */
  readonly parse: Parse<T>;
  /** The value when the variable is not set; `undefined` stands for "must be set". */
  readonly fallback: { readonly value: T } | undefined;
}

export interface Parse<T> {
  (text: string): T;
  /** All that may be said, where that is a choice of a few words. */
  readonly words?: readonly string[];
}

/** What is wrong with one or more settings; the process prints it and exits with 78 (EX_CONFIG). */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
  constructor(readonly problems: readonly string[]) {
    super(problems.join("\n"));
  }
}

/** EX_CONFIG of sysexits.h: something was found in an unconfigured or misconfigured state. */
export const EX_CONFIG = 78;

/** The environment as a plain record; an empty value counts as not set. */
export type Environment = Readonly<Record<string, string | undefined>>;

type Values<S extends Record<string, Setting<unknown>>> = { [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

/**
 * Reads the declared settings. `known` names further `AGENTKEYS_…` variables that belong to sibling programs and may be
 * present in a shared environment file; anything else with that prefix is refused.
 */
export function readSettings<S extends Record<string, Setting<unknown>>>(
  env: Environment,
  settings: S,
  known: readonly string[] = [],
): Values<S> {
  const problems: string[] = [];
  const names = new Set([...Object.keys(settings), ...known]);
  for (const name of Object.keys(env)) {
    if (name.startsWith("AGENTKEYS_") && !names.has(name)) {
      problems.push(`${name} is not a setting of this program.${suggestion(name, names)}`);
    }
  }
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(settings)) {
    const text = env[name];
    if (text === undefined || text === "") {
      if (setting.fallback === undefined) problems.push(`${name} must be set: ${setting.describe}`);
      else values[name] = setting.fallback.value;
      continue;
    }
    try {
      values[name] = setting.parse(text);
    } catch (error) {
      if (!(error instanceof SettingError)) throw error;
      problems.push(`${name} ${error.message}`);
    }
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return values as Values<S>;
}

/** Thrown by a `parse` function; the message continues the variable's name ("must be …"). */
export class SettingError extends Error {
  override readonly name = "SettingError";
}

function suggestion(name: string, names: ReadonlySet<string>): string {
  const near = [...names].map((known) => ({ known, d: distance(name, known) })).sort((a, b) => a.d - b.d)[0];
  return near !== undefined && near.d <= 3 ? ` Did you mean ${near.known}?` : "";
}

/** Levenshtein distance; names are short. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
