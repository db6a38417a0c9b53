import { type DestinationStream, type Logger, pino } from "pino";

import { standardOutput } from "./log-output.ts";

export type { Logger };

/**
 * Field names whose values never reach a log, at the top level or one level down. A second line of defence: secrets are
 * `Secret`s or stay out of log calls, and request and response bodies are never logged.
 */
const redacted = [
  "authorization",
  "dpop",
  "cookie",
  "token",
  "session_jwt",
  "sessionJwt",
  "login_secret",
  "loginSecret",
  "jwt",
  "password",
  "secret",
  "privateKey",
  "secretAccessKey",
  "sessionToken",
];

/** One JSON object per line, to standard output unless told otherwise; `service` and `time` (ISO 8601) on each. */
export function createLog(service: string, options: { level?: string; destination?: DestinationStream } = {}): Logger {
  const config = {
    level: options.level ?? "info",
    base: { service },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths: redacted.flatMap((name) => [name, `*.${name}`]), censor: "[redacted]" },
  };
  return pino(config, options.destination ?? standardOutput());
}
