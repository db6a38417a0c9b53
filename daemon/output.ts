import type { Context } from "./context.ts";
import type { Problem } from "./problem.ts";

/** Writes what a command answers: one JSON object for programs, lines for people. */
export function answer({ io, json }: Context, forPrograms: object, forPeople: readonly string[]): void {
  io.stdout.write(json ? JSON.stringify(forPrograms) + "\n" : forPeople.map((line) => line + "\n").join(""));
}

/** Tells of a problem that does not stop the command; on standard error, so that what programs read stays whole. */
export function warn({ io, json }: Context, { reason, text }: Problem): void {
  io.stderr.write(
    json ? JSON.stringify({ warning: { reason, message: text } }) + "\n" : `agentkeys: warning: ${text}\n`,
  );
}

/** Tells of the problem that ended a command. */
export function complain({ io, json }: Pick<Context, "io" | "json">, problem: Problem): void {
  const { reason, message, text } = problem;
  const remedy = problem.details.remedy;
  const lines = `agentkeys: ${message}\n` + (remedy === undefined ? "" : `${remedy}\n`);
  io.stderr.write(json ? JSON.stringify({ error: { reason, message: text } }) + "\n" : lines);
}

/** ISO 8601, for programs. */
export function isoTime(time: number): string {
  return new Date(time).toISOString();
}

/** How long from now, for people: `3 h 20 min`. */
export function duration(ms: number): string {
  const minutes = Math.max(0, Math.round(ms / 60_000));
  const [days, hours] = [Math.floor(minutes / 1440), Math.floor((minutes % 1440) / 60)];
  if (days > 0) return hours === 0 ? `${days} d` : `${days} d ${hours} h`;
  if (hours > 0) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${minutes} min`;
}
