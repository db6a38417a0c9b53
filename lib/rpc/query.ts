import { ErrorReason } from "../failure.ts";
import { refusal } from "./wire-error.ts";

/**
 * Reads `a=1&b=2&a=3` (application/x-www-form-urlencoded, "+" is a space). Unlike URLSearchParams it refuses percent-encoding that is none,
 * with INVALID_REQUEST, instead of passing it on as text.
 */
export function parseQuery(query: string): Map<string, string[]> {
  const values = new Map<string, string[]>();
  for (const pair of query.split("&")) {
    if (pair === "") continue;
    const mark = pair.indexOf("=");
    const name = decode(mark === -1 ? pair : pair.slice(0, mark));
    const value = mark === -1 ? "" : decode(pair.slice(mark + 1));
    values.set(name, [...(values.get(name) ?? []), value]);
  }
  return values;
}

/** Whether `text` is percent-encoded UTF-8. */
export function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

function decode(text: string): string {
  if (!isPercentEncoded(text)) throw refusal(ErrorReason.INVALID_REQUEST, "The query is not percent-encoded UTF-8.");
  return decodeURIComponent(text.replaceAll("+", " "));
}
