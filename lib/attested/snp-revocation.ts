import { resolve } from "node:path";

import type { NonEmpty, SnpRevocation } from "../evidence/index.ts";

import { SHA256 } from "./pin-fields.ts";
import { readGuardedBytes, UnreadableFile } from "./policy-files.ts";
import { invalid, PolicyFields } from "./policy-fields.ts";

/** Revocation lists that a policy names, in DER, by the place where their file is named: `platforms[0].revocation.lists.vcek[0]`. */
export type RevocationLists = ReadonlyMap<string, Uint8Array>;

const PATH = /^[^\0\n\r]{1,1024}$/;
const kinds = { vcek: "VCEK", vlek: "VLEK" } as const;

/** What is demanded, and the same for people. */
export interface Revocation {
  revocation: SnpRevocation;
  demand: string;
}

/**
 * Reads how it is known that AMD has not revoked a processor's authority: `{ "authorities_sha256": [...] }`, or
 * `{ "lists": { "vcek": [files], "vlek": [files] } }`, whose contents `lists` has. @throws PolicyRefused POLICY_INVALID
 */
export function readRevocation(fields: PolicyFields, lists: RevocationLists): Revocation {
  const [name, another] = fields.names();
  if (another !== undefined) throw invalid(fields.at(another), `cannot stand beside ${name}: one of them decides`);
  if (name !== "lists") {
    const authorities = fields.texts(
      "authorities_sha256",
      SHA256,
      "the SHA-256 of a certificate of AMD's (ASK or ASVK), 64 lower-case hex characters",
    );
    fields.end();
    const demand = `AMD's authority is the pinned one; if AMD revokes it, take it out: ${authorities.join(" or ")}`;
    return { revocation: { by: "authorities", authorities }, demand };
  }
  const files = listFiles(fields.object("lists"));
  fields.end();
  const [first, ...others] = files.map(({ place, path, of }) => {
    const list = lists.get(place);
    if (list === undefined) throw invalid(place, `names ${path}, which was not read`);
    return { of, list };
  });
  if (first === undefined) throw invalid(fields.at("lists"), "must name a list");
  const named = files.map(({ of, path }) => `${path} (${of})`).join(", ");
  return {
    revocation: { by: "lists", lists: [first, ...others] },
    demand: `AMD has not revoked its authority, by lists that have to be current: ${named}`,
  };
}

/** Reads the files that a policy's `revocation` names; paths are relative to `folder`, the policy's own; `at` is where the policy stands in something larger. @throws PolicyRefused POLICY_INVALID */
export async function readRevocationLists(policy: unknown, folder: string, at = ""): Promise<RevocationLists> {
  const lists = new Map<string, Uint8Array>();
  for (const [path, revocation] of revocationsIn(policy, at)) {
    if (!isObject(revocation) || !isObject(revocation["lists"])) continue;
    for (const file of listFiles(new PolicyFields(`${path}.lists`, revocation["lists"]))) {
      lists.set(file.place, await readList(file.place, resolve(folder, file.path)));
    }
  }
  return lists;
}

interface ListFile {
  place: string;
  path: string;
  of: (typeof kinds)[keyof typeof kinds];
}

function listFiles(fields: PolicyFields): ListFile[] {
  const named = (["vcek", "vlek"] as const).filter((kind) => fields.names().includes(kind));
  const files = named.flatMap((kind) => {
    const paths: NonEmpty<string> = fields.texts(kind, PATH, "the path of a file");
    return paths.map((path, index) => ({ place: `${fields.at(kind)}[${index}]`, path, of: kinds[kind] }));
  });
  fields.end();
  return files;
}

/** Where one may stand: in a platform, or in the silicon below it. */
function revocationsIn(policy: unknown, at: string): [path: string, revocation: unknown][] {
  const platforms = isObject(policy) ? policy["platforms"] : undefined;
  if (!Array.isArray(platforms)) return [];
  return (platforms as unknown[]).flatMap((platform, index): [string, unknown][] => {
    if (!isObject(platform)) return [];
    const { revocation, silicon } = platform;
    const path = `${at}platforms[${index}]`;
    return [
      [`${path}.revocation`, revocation],
      [`${path}.silicon.revocation`, isObject(silicon) ? silicon["revocation"] : undefined],
    ];
  });
}

async function readList(place: string, path: string): Promise<Uint8Array> {
  try {
    return await readGuardedBytes(path);
  } catch (error) {
    if (!(error instanceof UnreadableFile)) throw error;
    throw invalid(place, `names ${path}, which cannot be read: ${error.message}`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
