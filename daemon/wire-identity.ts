import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";

import { type Identity, IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";

import { printable } from "./printable.ts";

/** An identity as commands answer programs with it. */
export function identityJson({ omniAccount, type, value, linkedAt, lastUsedAt, suspended }: Identity) {
  return {
    omni_account: printable(omniAccount),
    type: typeName(type),
    value: printable(value),
    ...(linkedAt !== undefined && { linked_at: timestampDate(linkedAt).toISOString() }),
    ...(lastUsedAt !== undefined && { last_used_at: timestampDate(lastUsedAt).toISOString() }),
    suspended,
  };
}

export function typeName(type: IdentityType): string {
  return IdentityType[type].toLowerCase();
}

/** A day and a time of day, in UTC, for people. */
export function moment(time: Timestamp | undefined): string {
  return time === undefined ? "never" : timestampDate(time).toISOString().slice(0, 16).replace("T", " ");
}
