import type { Setting } from "./index.ts";

/** What a service answers to `--help`: what it is, its flags, and each setting with what holds where it is not set. */
export function serviceHelp(o: {
  /** What is typed, for example `npm run start:broker`. */
  command: string;
  about: string;
  /** What may stand on the command line, and what it does. */
  flags?: Readonly<Record<string, string>>;
  settings: Readonly<Record<string, Setting<unknown>>>;
}): string {
  const flags = Object.entries(o.flags ?? {});
  const settings = Object.entries(o.settings).map(
    ([name, setting]) => `  ${name}\n      ${setting.describe}${choice(setting)}${unset(setting)}\n`,
  );
  return `Usage: ${o.command}${flags.length > 0 ? " [FLAGS]" : ""}

${o.about}
${flags.length > 0 ? `\nFlags:\n${flags.map(([flag, does]) => `  ${flag}\n      ${does}\n`).join("")}` : ""}
Settings, from the environment:
${settings.join("")}
Exit status 78 says that a setting is wrong, and standard error which.
`;
}

function choice({ parse: { words = [] } }: Setting<unknown>): string {
  return words.length > 1 ? `: ${words.slice(0, -1).join(", ")} or ${words.at(-1)}` : "";
}

function unset({ fallback }: Setting<unknown>): string {
  if (fallback === undefined) return "; must be set";
  const value = shown(fallback.value);
  return value === "" ? "" : ` (${value})`;
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.map(shown).join(", ");
  if (typeof value === "object" && value !== null && "host" in value && "port" in value) {
    return `${String(value.host)}:${String(value.port)}`;
  }
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? String(value) : "";
}
