import { HOUR, SECOND } from "@agentkeys/lib/clock";
import type { EvidenceType } from "@agentkeys/lib/evidence/evidence";
import { machineNames, MAX_TICKET_MS, type RecoveryTicket } from "@agentkeys/lib/evidence/recovery-ticket";

/** What somebody asks a ticket for makes no ticket. */
export class TicketRequestRefused extends Error {
  override readonly name = "TicketRequestRefused";
}

/** `machine` is `TYPE:NAME=VALUE`. @throws TicketRequestRefused */
export function readTicketRequest(
  { backup, machine, hours }: { backup: string; machine: string; hours: string },
  now: number,
): RecoveryTicket {
  if (!/^[0-9a-f]{64}$/.test(backup)) {
    throw new TicketRequestRefused("--backup must be the id of a backup: 64 lower-case hex characters");
  }
  const [, type = "", name = "", value = ""] = /^([a-z0-9-]+):([a-z0-9_]+)=([ -~]{1,256})$/.exec(machine) ?? [];
  if (!isKnown(type) || !machineNames[type].test(name)) {
    throw new TicketRequestRefused(
      "--machine must name one machine, as it does itself, for example tpm2:ak_name=000b… or sev-snp:chip_id=…",
    );
  }
  const life = /^\d{1,3}$/.test(hours) ? Number(hours) * HOUR : NaN;
  if (!(life > 0 && life <= MAX_TICKET_MS)) {
    throw new TicketRequestRefused(`--hours must be a whole number from 1 to ${MAX_TICKET_MS / HOUR}`);
  }
  const issuedAt = Math.floor(now / SECOND) * SECOND;
  return { backupId: backup, machine: { type, name, value }, issuedAt, expiresAt: issuedAt + life };
}

function isKnown(type: string): type is EvidenceType {
  return Object.hasOwn(machineNames, type);
}
