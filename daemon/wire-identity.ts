import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";

import { type Identity, IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";

import { printable } from "./printable.ts";
import type { EnrolledIdentity } from "./state/index.ts";

/** An identity as commands answer programs with it. */
export function identityJson({ omniAccount, type, value, displayName, linkedAt, lastUsedAt, suspended }: Identity) {
  return {
    omni_account: printable(omniAccount),
    type: typeName(type),
    value: printable(value),
    ...(displayName !== "" && { display_name: printable(displayName) }),
    ...(linkedAt !== undefined && { linked_at: timestampDate(linkedAt).toISOString() }),
    ...(lastUsedAt !== undefined && { last_used_at: timestampDate(lastUsedAt).toISOString() }),
    suspended,
  };
}

/** An identity in words for people. */
export function identityWords({ type, value, displayName }: Pick<Identity, "type" | "value" | "displayName">): string {
  return enrolledWords({ type: typeName(type), value: printable(value), name: printable(displayName) });
}

/**
 * The same, of the one that this machine was enrolled with. A passkey's value says nothing to people, and the broker names it; at a
 * provider the name is its owner's own choice, and stands behind what they cannot choose.
 */
export function enrolledWords({ type, value, name = "" }: EnrolledIdentity): string {
  if (name === "") return value;
  return type === "passkey" ? name : `${value} (${name})`;
}

export function typeName(type: IdentityType): string {
  return IdentityType[type].toLowerCase();
}

/** A day and a time of day, in UTC, for people. */
export function moment(time: Timestamp | undefined): string {
  return time === undefined ? "never" : timestampDate(time).toISOString().slice(0, 16).replace("T", " ");
}
