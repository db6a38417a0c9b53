import type { JWTPayload } from "jose";

import { AwsError } from "../aws-error.ts";

const CLAIM = "https://aws.amazon.com/tags";
const MAX_TAGS = 50;
const ALLOWED = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;

/** The tags that a token puts on the session; `aws:PrincipalTag/<key>` in policies. */
export interface SessionTags {
  tags: ReadonlyMap<string, string>;
  /** Keys that go along when the session assumes a further role. */
  transitiveKeys: readonly string[];
}

/** Reads the tags claim in its nested or its flattened form; a claim that breaks AWS's limits refuses the whole token. */
export function parseSessionTags(claims: JWTPayload): SessionTags {
  const nested = claims[CLAIM] ?? {};
  if (!isRecord(nested)) throw refused(`${CLAIM} must be an object`);
  const principalTags = nested["principal_tags"] ?? flattened(claims);
  const transitiveKeys = nested["transitive_tag_keys"] ?? claims[`${CLAIM}/transitive_tag_keys`] ?? [];
  if (!isRecord(principalTags)) throw refused("principal_tags must be an object");
  if (!isStringList(transitiveKeys)) throw refused("transitive_tag_keys must be a list of strings");

  const tags = new Map(Object.entries(principalTags).map(([key, value]) => [key, parseTag(key, value)]));
  if (tags.size > MAX_TAGS) throw refused(`A session has at most ${MAX_TAGS} tags`);
  if (new Set([...tags.keys()].map((key) => key.toLowerCase())).size < tags.size) {
    throw refused("Duplicate tag keys found. Please note that Tag keys are case insensitive.");
  }
  const stranger = transitiveKeys.find((key) => !tags.has(key));
  if (stranger !== undefined) throw refused(`The transitive tag key ${stranger} is not among the tags`);
  return { tags, transitiveKeys };
}

function parseTag(key: string, value: unknown): string {
  if (key.length < 1 || key.length > 128 || !ALLOWED.test(key)) throw refused("A tag key breaks its limits");
  if (key.toLowerCase().startsWith("aws:")) throw refused(`The tag key ${key} is reserved`);
  if (!isStringList(value) || value.length !== 1 || value[0] === undefined) {
    throw refused(`The tag ${key} must be a list of one string`);
  }
  if (value[0].length > 256 || !ALLOWED.test(value[0])) throw refused(`The value of the tag ${key} breaks its limits`);
  return value[0];
}

/** `https://aws.amazon.com/tags/principal_tags/KEY`: the form for issuers that cannot nest. */
function flattened(claims: JWTPayload): Record<string, unknown> {
  const prefix = `${CLAIM}/principal_tags/`;
  return Object.fromEntries(
    Object.entries(claims)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [name.slice(prefix.length), isStringList(value) ? value : [value]]),
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isStringList(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}

function refused(message: string): AwsError {
  return new AwsError("InvalidIdentityToken", 400, message);
}
