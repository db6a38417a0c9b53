import type { ConnectError } from "@connectrpc/connect";

import { ErrorReason } from "../failure.ts";
import { refusal } from "./wire-error.ts";

const GRPC_UNITS: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1 / 1000, n: 1 / 1_000_000 };

/**
 * Rewrites a call's timeout header so that no call runs longer than `maxMs`: a longer wish is shortened, and a call that
 * names none gets the maximum. `maxMs` undefined stands for a stream, which may last as long as its client likes. A header that cannot be read
 * stays away, and the error to answer is returned.
 */
export function limitTimeout(
  headers: Headers,
  protocol: "connect" | "grpc" | "grpc-web",
  maxMs: number | undefined,
): ConnectError | undefined {
  const name = protocol === "connect" ? "connect-timeout-ms" : "grpc-timeout";
  const text = headers.get(name);
  if (text === null && maxMs === undefined) return undefined;
  const wishMs = text === null ? Infinity : protocol === "connect" ? connectTimeout(text) : grpcTimeout(text);
  if (wishMs === undefined) {
    const form =
      protocol === "connect" ? "milliseconds, at most ten digits" : "at most eight digits and one of H M S m u n";
    headers.delete(name);
    return refusal(ErrorReason.INVALID_REQUEST, `The header ${name} cannot be read: it must be ${form}.`);
  }
  const ms = Math.ceil(Math.min(wishMs, maxMs ?? Infinity, 99_999_999));
  headers.set(name, protocol === "connect" ? String(ms) : `${ms}m`);
  return undefined;
}

function connectTimeout(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

function grpcTimeout(text: string): number | undefined {
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  if (digits === undefined || unit === undefined) return undefined;
  return Number(digits) * (GRPC_UNITS[unit] ?? NaN);
}
