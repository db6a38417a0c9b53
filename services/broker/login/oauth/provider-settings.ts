import { readFileSync } from "node:fs";

import { Secret } from "@agentkeys/lib/secret";
import { SettingError } from "@agentkeys/lib/settings";
import { isLoopback } from "@agentkeys/lib/settings/kinds";

/** An identity provider as an operator configures it. */
export interface ProviderSettings {
  kind: "oidc" | "github";
  name: string;
  title: string;
  /** The issuer; for GitHub, the site. */
  url: string;
  clientId: string;
  clientSecret: Secret;
}

/** What `google` and `github` stand for, unless the file says otherwise. */
const wellKnown: Record<string, { kind: ProviderSettings["kind"]; title: string; url: string }> = {
  google: { kind: "oidc", title: "Google", url: "https://accounts.google.com" },
  github: { kind: "github", title: "GitHub", url: "https://github.com" },
};

const MEMBERS = ["client_id", "client_secret", "issuer", "title", "kind"];

/**
 * Reads the providers: JSON, or the path of a file with it:
 * `{"google": {"client_id": "…", "client_secret": "…"}, "corp": {"issuer": "https://…", "client_id": "…", "client_secret": "…"}}`.
 * `issuer` of a provider of kind `github` is the URL of a GitHub Enterprise Server.
 */
export function oauthProviders(value: string): ProviderSettings[] {
  const parsed = parse(value.trimStart().startsWith("{") ? value : contents(value));
  return Object.entries(parsed).map(([name, entry]) => provider(name, entry));
}

function contents(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    throw new SettingError("must be JSON, or the path of a file that can be read");
  }
}

function parse(text: string): object {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return parsed;
  } catch {
    // The parser's own words would quote the secrets.
  }
  throw new SettingError('must hold a JSON object such as {"google": {"client_id": "…", "client_secret": "…"}}');
}

function provider(name: string, entry: unknown): ProviderSettings {
  if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(name)) {
    throw new SettingError("must name each provider in lower-case letters, digits and hyphens, 32 at the most");
  }
  if (typeof entry !== "object" || entry === null) throw new SettingError(`must hold an object for ${name}`);
  const unknown = Object.keys(entry).find((member) => !MEMBERS.includes(member));
  if (unknown !== undefined) throw new SettingError(`has a member for ${name} that is none of ${MEMBERS.join(", ")}`);
  const read = (member: string, otherwise?: string): string => {
    const value: unknown = Object.hasOwn(entry, member) ? (entry as Record<string, unknown>)[member] : otherwise;
    if (typeof value !== "string" || value.trim() === "")
      throw new SettingError(`must say ${member} of ${name}, as text`);
    return value;
  };
  const known = Object.hasOwn(wellKnown, name) ? wellKnown[name] : undefined;
  const kind = read("kind", known?.kind ?? "oidc");
  if (kind !== "oidc" && kind !== "github") throw new SettingError(`must say oidc or github as kind of ${name}`);
  return {
    kind,
    name,
    title: read("title", known?.title ?? name),
    url: siteUrl(name, read("issuer", known?.url)),
    clientId: read("client_id"),
    clientSecret: new Secret(read("client_secret")),
  };
}

function siteUrl(name: string, text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const safe = url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url.hostname));
  if (url === undefined || !safe || url.search !== "" || url.hash !== "" || url.username !== "") {
    throw new SettingError(`must say an https URL as issuer of ${name} (http on loopback only)`);
  }
  return text;
}
