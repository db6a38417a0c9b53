import type { KeyObject } from "node:crypto";

import { CompactSign, compactVerify } from "jose";

import type { EvidenceType } from "./evidence.ts";

/** One machine, by the one value of its evidence that no other machine has: text as policies write it. */
export interface TicketMachine {
  type: EvidenceType;
  /** A member of `identity` in a policy's platform: `ak_name`, `chip_id` … */
  name: string;
  value: string;
}

/** Leave for one machine to have the shares of one backup, for a while: what the holder of its recovery key signs, offline. */
export interface RecoveryTicket {
  /** SHA-256 of the backup's manifest, in lower-case hex. */
  backupId: string;
  machine: TicketMachine;
  /** Epoch milliseconds, in whole seconds. */
  issuedAt: number;
  expiresAt: number;
}

/**
 * What names one machine and no other, by kind of evidence. A maker's root, host data or a certificate authority are not among them:
 * they are whatever whoever starts a machine chooses, or are those of a million machines.
 */
export const machineNames: Readonly<Record<EvidenceType, RegExp>> = {
  tpm2: /^ak_name$/,
  "aws-nitro": /^module_id$/,
  "sev-snp": /^chip_id$/,
  tdx: /^ppid$/,
  "azure-cvm": /^ak_key$/,
  soft: /^[a-z][a-z0-9_]{0,63}$/,
};

/** The longest that a ticket may be good for: a machine is set up within days. */
export const MAX_TICKET_MS = 7 * 24 * 3_600_000;

/** Keeps a signature of the recovery key over something else from being taken for a ticket. */
const TYP = "agentkeys-recovery-ticket+jwt";
const ALGORITHM = "ES256";

/** Signs a ticket with the recovery key (P-256): a compact JWS (RFC 7515). */
export async function signRecoveryTicket(ticket: RecoveryTicket, recoveryKey: KeyObject): Promise<string> {
  const { backupId, machine, issuedAt, expiresAt } = ticket;
  const payload = { v: 1, backup_id: backupId, machine, iat: issuedAt / 1000, exp: expiresAt / 1000 };
  return await new CompactSign(Buffer.from(JSON.stringify(payload)))
    .setProtectedHeader({ alg: ALGORITHM, typ: TYP })
    .sign(recoveryKey);
}

/** A ticket is not by this recovery key, is not for now, or names no machine. */
export class TicketRefused extends Error {
  override readonly name = "TicketRefused";
}

/** Whether a ticket is good at `at` (epoch milliseconds) is a part of its verification. @throws TicketRefused */
export async function verifyRecoveryTicket(
  jws: string,
  recoveryKey: KeyObject,
  { at, clockSkewMs }: { at: number; clockSkewMs: number },
): Promise<RecoveryTicket> {
  const ticket = parse(await signedPayload(jws, recoveryKey));
  const life = ticket.expiresAt - ticket.issuedAt;
  if (!(life > 0 && life <= MAX_TICKET_MS)) throw new TicketRefused("the recovery ticket is for more than 7 days");
  if (ticket.issuedAt > at + clockSkewMs) throw new TicketRefused("the recovery ticket is from the future");
  if (ticket.expiresAt <= at) throw new TicketRefused("the recovery ticket has expired");
  return ticket;
}

async function signedPayload(jws: string, recoveryKey: KeyObject): Promise<unknown> {
  try {
    const { payload, protectedHeader } = await compactVerify(jws, recoveryKey, { algorithms: [ALGORITHM] });
    if (protectedHeader.typ === TYP) return JSON.parse(Buffer.from(payload).toString("utf8"));
  } catch {
    // The library's words would quote what somebody put there.
  }
  throw new TicketRefused("the recovery ticket is not signed by the backup's recovery key");
}

function parse(payload: unknown): RecoveryTicket {
  const { v, backup_id: backupId, machine, iat, exp, ...others } = fieldsOf(payload);
  const { type, name, value, ...more } = fieldsOf(machine);
  const stranger = Object.keys({ ...others, ...more }).length > 0;
  const isTime = (seconds: unknown): seconds is number => Number.isSafeInteger(seconds) && (seconds as number) > 0;
  if (v !== 1 || stranger || typeof backupId !== "string" || !/^[0-9a-f]{64}$/.test(backupId)) throw unreadable();
  if (!isTime(iat) || !isTime(exp)) throw unreadable();
  const known = typeof type === "string" && Object.hasOwn(machineNames, type) ? (type as EvidenceType) : undefined;
  if (known === undefined || typeof name !== "string" || typeof value !== "string") throw unreadable();
  if (!machineNames[known].test(name) || !/^[ -~]{1,256}$/.test(value)) {
    throw new TicketRefused(`the recovery ticket names no machine: ${known} machines are told apart by another value`);
  }
  return { backupId, machine: { type: known, name, value }, issuedAt: iat * 1000, expiresAt: exp * 1000 };
}

function unreadable(): TicketRefused {
  return new TicketRefused("the recovery ticket says something that this version does not know");
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
