/**
 * Signs a recovery ticket, offline: `npm run recovery-ticket -- --help`. Nothing is asked of any network; what is needed of the worker that
 * was lost and of the new machine stands in their logs.
 */
import { createPrivateKey } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { systemClock } from "@agentkeys/lib/clock";
import { signRecoveryTicket } from "@agentkeys/lib/evidence/recovery-ticket";

import { readTicketRequest, TicketRequestRefused } from "./ticket-request.ts";

const HELP = `Signs leave for one machine to have the shares of one backup.

  --recovery-key FILE    the recovery key, PEM, P-256 (openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256)
  --backup ID            the backup's id: the lost worker logged it ("backed up"), and each custodian has a file of that name
  --machine NAME         the new machine, as it says itself when it is started with an empty ticket, for example
                         tpm2:ak_name=000b…, sev-snp:chip_id=…, tdx:ppid=…
  --hours N              how long it is good (default 24, at most 168)
  --out FILE             where it is written (default: recovery-ticket)

Whoever can have a machine named here, and has its memory, has every wallet: compare the machine's value with its own console.`;

const { values } = parseArgs({
  options: {
    "recovery-key": { type: "string" },
    backup: { type: "string" },
    machine: { type: "string" },
    hours: { type: "string", default: "24" },
    out: { type: "string", default: "recovery-ticket" },
    help: { type: "boolean" },
  },
});
const { "recovery-key": keyFile, backup, machine, hours, out } = values;
if (keyFile === undefined || backup === undefined || machine === undefined || values.help === true) {
  process.stdout.write(`${HELP}\n`);
  process.exit(values.help === true ? 0 : 2);
}
try {
  const ticket = readTicketRequest({ backup, machine, hours }, systemClock());
  writeFileSync(out, (await signRecoveryTicket(ticket, createPrivateKey(readFileSync(keyFile)))) + "\n");
  const { type, name, value } = ticket.machine;
  process.stdout.write(
    `${out}: the backup ${ticket.backupId}\nfor ${type} ${name} ${value}\nuntil ${new Date(ticket.expiresAt).toISOString()}\n`,
  );
} catch (error) {
  if (!(error instanceof TicketRequestRefused)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
}
