import { generateKeyPairSync } from "node:crypto";

import { CompactSign } from "jose";
import { describe, expect, test } from "vitest";

import { signMeasurements } from "./measurements.ts";
import { type RecoveryTicket, signRecoveryTicket, verifyRecoveryTicket } from "./recovery-ticket.ts";

const key = generateKeyPairSync("ec", { namedCurve: "P-256" });
const now = Date.UTC(2030, 0, 1);
const ticket: RecoveryTicket = {
  backupId: "ab".repeat(32),
  machine: { type: "tpm2", name: "ak_name", value: `000b${"5a".repeat(32)}` },
  issuedAt: now,
  expiresAt: now + 3_600_000,
};
const verify = (jws: string, at = now): Promise<RecoveryTicket> =>
  verifyRecoveryTicket(jws, key.publicKey, { at, clockSkewMs: 30_000 });
const signed = (payload: unknown, header: object = {}): Promise<string> =>
  new CompactSign(Buffer.from(JSON.stringify(payload)))
    .setProtectedHeader({ alg: "ES256", typ: "agentkeys-recovery-ticket+jwt", ...header })
    .sign(key.privateKey);

describe("a recovery ticket", () => {
  test("says what was signed, from its first moment to its last", async () => {
    const jws = await signRecoveryTicket(ticket, key.privateKey);
    for (const at of [now - 30_000, now, now + 3_599_999]) expect(await verify(jws, at)).toEqual(ticket);
    await expect(verify(jws, now - 30_001)).rejects.toThrow("from the future");
    await expect(verify(jws, now + 3_600_000)).rejects.toThrow("has expired");
  });

  test("is refused when any of its characters is another", async () => {
    const jws = await signRecoveryTicket(ticket, key.privateKey);
    for (let i = 0; i < jws.length - 1; i += 7) {
      const changed = jws.slice(0, i) + (jws[i] === "A" ? "B" : "A") + jws.slice(i + 1);
      await expect(verify(changed), String(i)).rejects.toThrow("is not signed by the backup's recovery key");
    }
  });

  test("is no other statement of the same key", async () => {
    const measurements = await signMeasurements(
      { release: "1", pcrs: { 11: "00".repeat(32) }, digests: {} },
      key.privateKey,
    );
    await expect(verify(measurements)).rejects.toThrow("is not signed by");
    const hmac = await new CompactSign(Buffer.from("{}")).setProtectedHeader({ alg: "HS256" }).sign(Buffer.alloc(32));
    for (const jws of [hmac, "", "a.b.c"]) await expect(verify(jws)).rejects.toThrow("is not signed by");
  });

  const payload = { v: 1, backup_id: ticket.backupId, machine: ticket.machine, iat: now / 1000, exp: now / 1000 + 60 };
  test.each<[string, object, string]>([
    ["of another version", { v: 2 }, "does not know"],
    ["with a member more", { also: 1 }, "does not know"],
    ["with a member of the machine more", { machine: { ...ticket.machine, or: "any" } }, "does not know"],
    ["for no backup", { backup_id: "AB".repeat(32) }, "does not know"],
    ["without an end", { exp: undefined }, "does not know"],
    ["with an end that is none", { exp: "tomorrow" }, "does not know"],
    ["for more than a week", { exp: now / 1000 + 7 * 86_400 + 1 }, "for more than 7 days"],
    ["that ends before it begins", { exp: now / 1000 - 1 }, "for more than 7 days"],
    ["for a list of machines", { machine: [ticket.machine] }, "does not know"],
    ["for any value", { machine: { ...ticket.machine, value: ["a", "b"] } }, "does not know"],
    ["for whatever a maker made", { machine: { ...ticket.machine, name: "ek_root" } }, "names no machine"],
    ["for a kind that is not known", { machine: { ...ticket.machine, type: "constructor" } }, "does not know"],
  ])("%s is refused", async (_, changes, words) => {
    await expect(verify(await signed({ ...payload, ...changes }))).rejects.toThrow(words);
  });

  test("as it is otherwise is taken", async () => {
    expect((await verify(await signed(payload))).backupId).toBe(ticket.backupId);
    await expect(verify(await signed(payload, { typ: "JWT" }))).rejects.toThrow("is not signed by");
  });
});
