import { AttestationError } from "../evidence.ts";

/** How Intel judges a platform's firmware ("Intel PCS API", TCB status); a policy can accept none that is revoked. */
export type TcbStatus = AcceptableTcbStatus | "Revoked";

export type AcceptableTcbStatus =
  | "UpToDate"
  | "SWHardeningNeeded"
  | "ConfigurationNeeded"
  | "ConfigurationAndSWHardeningNeeded"
  | "OutOfDate"
  | "OutOfDateConfigurationNeeded";

/** A judgement, and the advisories that it rests on. */
export interface TcbVerdict {
  status: TcbStatus;
  advisories: readonly string[];
}

interface Flaws {
  revoked: boolean;
  outOfDate: boolean;
  configuration: boolean;
  hardening: boolean;
}

const flaws = (...names: (keyof Flaws)[]): Flaws => ({
  revoked: names.includes("revoked"),
  outOfDate: names.includes("outOfDate"),
  configuration: names.includes("configuration"),
  hardening: names.includes("hardening"),
});

const flawsOf: Readonly<Record<TcbStatus, Flaws>> = {
  UpToDate: flaws(),
  SWHardeningNeeded: flaws("hardening"),
  ConfigurationNeeded: flaws("configuration"),
  ConfigurationAndSWHardeningNeeded: flaws("configuration", "hardening"),
  OutOfDate: flaws("outOfDate"),
  OutOfDateConfigurationNeeded: flaws("outOfDate", "configuration"),
  Revoked: flaws("revoked"),
};

/** Reads a status as Intel writes it. @throws AttestationError UNSUPPORTED */
export function readTcbStatus(text: string): TcbStatus {
  if (Object.hasOwn(flawsOf, text)) return text as TcbStatus;
  throw new AttestationError("UNSUPPORTED", "TDX: the collateral has a TCB status that is unknown");
}

/** The status of a whole whose parts have these. */
export function mergeTcbStatus(statuses: readonly TcbStatus[]): TcbStatus {
  const has = (flaw: keyof Flaws): boolean => statuses.some((status) => flawsOf[status][flaw]);
  if (has("revoked")) return "Revoked";
  if (has("outOfDate")) return has("configuration") ? "OutOfDateConfigurationNeeded" : "OutOfDate";
  if (has("configuration")) return has("hardening") ? "ConfigurationAndSWHardeningNeeded" : "ConfigurationNeeded";
  return has("hardening") ? "SWHardeningNeeded" : "UpToDate";
}
