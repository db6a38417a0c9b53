import { readFileSync } from "node:fs";
import { isIP } from "node:net";

import { type Parse, type Setting, SettingError } from "./index.ts";

/** An address to listen on; port 0 lets the system choose. */
export interface ListenAddress {
  host: string;
  port: number;
}

/** Makes a setting that must be given. */
export function required<T>(describe: string, parse: Parse<T>): Setting<T> {
  return { describe, parse, fallback: undefined };
}

/** Makes a setting with a value for when it is not given. */
export function optional<T, F>(describe: string, parse: Parse<T>, fallback: F): Setting<T | F> {
  return { describe, parse, fallback: { value: fallback } };
}

/** `host:port`, with an IPv6 host in brackets. */
export function listenAddress(text: string): ListenAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65535) throw new SettingError("must be host:port, for example 127.0.0.1:8091");
  return { host, port };
}

/** An absolute http or https URL without trailing slash, query, fragment or credentials. */
export function baseUrl(text: string): string {
  const problem = "must be a URL such as https://broker.example.com, without a trailing slash, a query or a fragment";
  if (!URL.canParse(text)) throw new SettingError(problem);
  const url = new URL(text);
  if (!/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "") throw new SettingError(problem);
  if (text.endsWith("/") || /[?#]/.test(text)) throw new SettingError(problem);
  return text;
}

/** An absolute http or https URL that is an origin: no path either, since what is served stands at the root. */
export function originUrl(text: string): string {
  const url = baseUrl(text);
  if (new URL(url).pathname !== "/")
    throw new SettingError("must be a URL without a path, such as https://keys.example.com");
  return url;
}

/** Whether a host name or address can only be reached from this machine. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, "");
  if (bare === "localhost" || bare.endsWith(".localhost")) return true;
  if (isIP(bare) === 4) return bare.startsWith("127.");
  return bare === "::1" || /^::ffff:127\./i.test(bare);
}

/** A whole number from `min` to `max`. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new SettingError(`must be a whole number from ${min} to ${max}`);
    }
    return value;
  };
}

/** One of a few words. */
export function oneOf<const W extends string>(...words: W[]): Parse<W> {
  const parse = (text: string): W => {
    const word = words.find((w) => w === text);
    if (word === undefined) throw new SettingError(`must be one of ${words.join(", ")}`);
    return word;
  };
  return Object.assign(parse, { words });
}

/** Items separated by commas, white space around them ignored. */
export function list<T>(item: (text: string) => T): (text: string) => T[] {
  return (text) =>
    text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "")
      .map(item);
}

/** Any text, as it is. */
export const text = (value: string): string => value;

/** The contents of the named file. */
export function fileContents(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    throw new SettingError(`names a file that cannot be read: ${path}`);
  }
}
