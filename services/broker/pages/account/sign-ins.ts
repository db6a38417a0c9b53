import type { SessionRecord } from "../../token/index.ts";

/** A sign-in that still acts, with all that came from it. */
export interface SignIn {
  /** Ends all of it when it is revoked. */
  root: SessionRecord;
  /** Of any of its sessions. */
  lastUsedAt?: number;
  /** For whom it minted, the newest first. */
  audiences: string[];
}

/** Sessions, newest first, by the sign-in that they came from. One whose sign-in has ended stands for itself. */
export function signInsOf(sessions: readonly SessionRecord[]): SignIn[] {
  const byId = new Map(sessions.map((session) => [session.sessionId, session]));
  const rootOf = (session: SessionRecord): SessionRecord => {
    const parent = session.parentId === undefined ? undefined : byId.get(session.parentId);
    return parent === undefined ? session : rootOf(parent);
  };
  const groups = new Map<SessionRecord, SessionRecord[]>();
  for (const session of sessions) {
    const root = rootOf(session);
    const members = groups.get(root);
    if (members === undefined) groups.set(root, [session]);
    else members.push(session);
  }
  return [...groups].map(([root, members]) => {
    const used = members.flatMap(({ lastUsedAt }) => (lastUsedAt === undefined ? [] : [lastUsedAt]));
    const audiences = members.map(({ lastAudience }) => lastAudience).filter((audience) => audience !== "");
    return {
      root,
      audiences: [...new Set(audiences)],
      ...(used.length > 0 && { lastUsedAt: used.reduce((a, b) => Math.max(a, b)) }),
    };
  });
}
