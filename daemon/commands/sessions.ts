import { timestampDate } from "@bufbuild/protobuf/wkt";

import { type Session, SessionKind } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";

import { openAccess } from "../ceremony.ts";
import type { Context } from "../context.ts";
import { answer } from "../output.ts";
import { printable } from "../printable.ts";
import { Problem, problemOf } from "../problem.ts";
import type { Broker } from "../services.ts";
import { table } from "../table.ts";
import { moment } from "../wire-identity.ts";

/** `agentkeys sessions`: what acts in the account's name, and since when. */
export async function sessions(context: Context): Promise<void> {
  const { asPerson } = await openAccess(context);
  const { sessions: all } = await asPerson.account.listSessions({});
  const rows = all.map((session) => [
    printable(session.sessionId).slice(0, 10),
    kindOf(session),
    printable(session.deviceName) || "not named",
    printable(session.sourceAddress),
    moment(session.createdAt),
    moment(session.lastUsedAt),
    moment(session.expiresAt),
    printable(session.lastAudience) || "-",
    session.current ? "this one" : "",
  ]);
  const head = ["ID", "KIND", "MACHINE", "FROM", "MADE (UTC)", "LAST USED", "EXPIRES", "AUDIENCE", ""];
  answer(context, { sessions: all.map(sessionJson) }, table([head, ...rows]));
}

/** `agentkeys revoke`: ends a session by the beginning of its id, or all but this machine's. */
export async function revoke(
  context: Context,
  id: string | undefined,
  { allOthers = false }: { allOthers?: boolean },
): Promise<void> {
  if ((id === undefined) !== allOthers) {
    throw new Problem("USAGE", "usage", "Give a session's id, or --all-others.", {
      remedy: "`agentkeys sessions` lists them.",
    });
  }
  const { asPerson } = await openAccess(context);
  const { sessions: all } = await asPerson.account.listSessions({});
  const own = all.find(({ current }) => current);
  const others = all.filter(
    ({ current, kind, deviceName, sourceAddress }) =>
      !current &&
      !(kind === SessionKind.WALLET && deviceName === own?.deviceName && sourceAddress === own.sourceAddress),
  );
  const targets = id === undefined ? others.map(({ sessionId }) => sessionId) : [named(all, id)];
  const ended = new Set<string>();
  for (const sessionId of targets) {
    // One that ended with another one is no problem.
    if (ended.has(sessionId)) continue;
    for (const each of await end(asPerson, sessionId, allOthers)) ended.add(each);
  }
  const count = ended.size === 1 ? "1 session is" : `${ended.size} sessions are`;
  answer(context, { revoked: [...ended] }, [
    `${count} ended, everywhere within 10 seconds.`,
    ...(own !== undefined && ended.has(own.sessionId)
      ? ["This machine's own is among them: run `agentkeys init` to sign in."]
      : []),
  ]);
}

/** Where all others are to end, one that has ended by itself since they were listed must not keep the rest alive. */
async function end({ account }: Broker, sessionId: string, mayBeGone: boolean): Promise<string[]> {
  try {
    return (await account.revokeSession({ sessionId })).sessionIds.map(printable);
  } catch (error) {
    const problem = problemOf(error);
    if (mayBeGone && problem.reason === "SESSION_NOT_FOUND") return [];
    throw problem;
  }
}

function named(all: readonly Session[], id: string): string {
  const matching = all.filter(({ sessionId }) => sessionId.startsWith(id));
  const [only] = matching;
  if (id.length >= 6 && only !== undefined && matching.length === 1) return only.sessionId;
  const why =
    id.length < 6
      ? "Give at least 6 characters of the session's id."
      : matching.length === 0
        ? "No session has this id."
        : "More than one session begins so: give more of its id.";
  throw new Problem("SESSION_NOT_FOUND", "usage", why, { remedy: "`agentkeys sessions` lists them." });
}

function kindOf({ kind }: Session): string {
  if (kind === SessionKind.BROWSER) return "browser";
  return kind === SessionKind.WALLET ? "wallet" : "identity";
}

function sessionJson(session: Session) {
  const time = (name: string, value: Session["createdAt"]): object =>
    value === undefined ? {} : { [name]: timestampDate(value).toISOString() };
  return {
    session_id: printable(session.sessionId),
    kind: kindOf(session),
    device_name: printable(session.deviceName),
    source_address: printable(session.sourceAddress),
    ...time("created_at", session.createdAt),
    ...time("expires_at", session.expiresAt),
    ...time("last_used_at", session.lastUsedAt),
    last_audience: printable(session.lastAudience),
    dpop_bound: session.dpopBound,
    current: session.current,
  };
}
