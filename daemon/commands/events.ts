import { timestampDate } from "@bufbuild/protobuf/wkt";

import type { Event } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";

import { openAccess } from "../ceremony.ts";
import type { Context } from "../context.ts";
import { answer } from "../output.ts";
import { printable } from "../printable.ts";
import { Problem } from "../problem.ts";
import { table } from "../table.ts";
import { moment } from "../wire-identity.ts";

const PAGE = 200;

/** `agentkeys events`: what happened in the account's name, the newest first. */
export async function events(context: Context, { limit = "50" }: { limit?: string }): Promise<void> {
  const wanted = Number(limit);
  if (!/^\d{1,6}$/.test(limit) || wanted === 0) {
    throw new Problem("USAGE", "usage", "--limit is not a number from 1 to 999999.");
  }
  const { asPerson } = await openAccess(context);
  const all: Event[] = [];
  for (let pageToken = ""; all.length < wanted;) {
    const page = await asPerson.account.listEvents({ pageSize: Math.min(PAGE, wanted - all.length), pageToken });
    all.push(...page.events);
    pageToken = page.nextPageToken;
    // A page without events is the last one too, whatever it says: nothing would ever come of asking on.
    if (pageToken === "" || page.events.length === 0) break;
  }
  all.splice(wanted);
  const rows = all.map((event) => [
    moment(event.occurredAt),
    printable(event.action),
    printable(event.outcome),
    printable(event.sourceAddress),
    printable(event.subject),
  ]);
  answer(context, { events: all.map(eventJson) }, table([["WHEN (UTC)", "WHAT", "OUTCOME", "FROM", "ABOUT"], ...rows]));
}

function eventJson(event: Event) {
  return {
    event_id: printable(event.eventId),
    ...(event.occurredAt !== undefined && { occurred_at: timestampDate(event.occurredAt).toISOString() }),
    action: printable(event.action),
    outcome: printable(event.outcome),
    session_id: printable(event.sessionId),
    source_address: printable(event.sourceAddress),
    request_id: printable(event.requestId),
    subject: printable(event.subject),
  };
}
