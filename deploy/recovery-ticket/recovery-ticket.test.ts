import { execFileSync, spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { verifyRecoveryTicket } from "@agentkeys/lib/evidence/recovery-ticket";

import { readTicketRequest } from "./ticket-request.ts";

const folder = mkdtempSync(join(tmpdir(), "agentkeys-ticket-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const key = generateKeyPairSync("ec", { namedCurve: "P-256" });
const [backup, machine] = ["ab".repeat(32), `tpm2:ak_name=000b${"5a".repeat(32)}`];

describe("npm run recovery-ticket", () => {
  const program = ["--import", import.meta.resolve("tsx"), join(import.meta.dirname, "main.ts")];

  test("signs a ticket for a day that a custodian takes", async () => {
    const [keyFile, out] = [join(folder, "key.pem"), join(folder, "recovery-ticket")];
    writeFileSync(keyFile, key.privateKey.export({ format: "pem", type: "pkcs8" }));
    const words = ["--recovery-key", keyFile, "--backup", backup, "--machine", machine, "--out", out];
    const said = execFileSync(process.execPath, [...program, ...words], { encoding: "utf8" });
    expect(said).toContain(`the backup ${backup}\nfor tpm2 ak_name 000b5a5a`);
    const at = Date.now();
    const ticket = await verifyRecoveryTicket(readFileSync(out, "utf8").trim(), key.publicKey, { at, clockSkewMs: 0 });
    expect(ticket).toMatchObject({ backupId: backup, machine: { type: "tpm2", name: "ak_name" } });
    expect(ticket.expiresAt - ticket.issuedAt).toBe(86_400_000);
    expect(said).not.toContain("PRIVATE");
  });

  test("says what it needs, and what is wrong", () => {
    const run = (...words: string[]) => spawnSync(process.execPath, [...program, ...words], { encoding: "utf8" });
    expect(run()).toMatchObject({ status: 2, stdout: expect.stringContaining("--recovery-key FILE") as string });
    const wrong = run("--recovery-key", "x.pem", "--backup", "12", "--machine", machine);
    expect(wrong).toMatchObject({ status: 2, stderr: expect.stringContaining("--backup must be the id") as string });
  });
});

describe("a ticket is for", () => {
  test.each([
    ["nobody", ""],
    ["whatever a maker made", `tpm2:ek_root=${"5a".repeat(32)}`],
    ["whoever chose their host data", `sev-snp:host_data=${"5a".repeat(32)}`],
    ["a kind that is not known", "sgx:id=1"],
    ["two", "tpm2:ak_name=1,tpm2:ak_name=2\n"],
  ])("a machine, not for %s", (_, named) => {
    expect(() => readTicketRequest({ backup, machine: named, hours: "1" }, 0)).toThrow("--machine must name one");
  });

  test.each(["0", "-1", "169", "1e2", "", "1.5"])("some hours, not for %s", (hours) => {
    expect(() => readTicketRequest({ backup, machine, hours }, 0)).toThrow("--hours must be");
  });
});
