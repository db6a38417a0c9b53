import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { Secret } from "@agentkeys/lib/secret";

import { sampleEnrolment } from "../testing/enrolment.ts";
import { formatRecord, parseRecord } from "./record.ts";

const whole = formatRecord(sampleEnrolment());

/** What `change` makes of a whole record, and then the parser of that. */
function parsed(change: (record: Record<string, unknown>) => void): unknown {
  const record = JSON.parse(whole) as Record<string, unknown>;
  change(record);
  return parseRecord(JSON.stringify(record));
}

/** Every path to a value in the record: ["session", "token"] … */
function pathsOf(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [path];
  return Object.entries(value).flatMap(([name, inner]) => pathsOf(inner, [...path, name]));
}

function setAt(record: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [name = "", ...rest] = path;
  if (rest.length > 0) setAt(record[name] as Record<string, unknown>, rest, value);
  else if (value === undefined) Reflect.deleteProperty(record, name);
  else record[name] = value;
}

describe("the record in the state file", () => {
  test("comes back as it was written", () => {
    const { session, ...rest } = sampleEnrolment();
    for (const enrolment of [
      sampleEnrolment(),
      { ...sampleEnrolment(), identity: { type: "passkey", value: "kX8f", name: "Passkey made on Linux" } },
      { ...rest, session: { ...session, renewableUntil: session.expiresAt + 1 } },
    ]) {
      const back = parseRecord(formatRecord(enrolment));
      expect(back).toEqual(enrolment);
      // Equality does not look into secrets.
      expect("fault" in back ? back : formatRecord(back)).toBe(formatRecord(enrolment));
    }
  });

  test("may lack the wallet, which comes last", () => {
    const unfinished = sampleEnrolment();
    delete unfinished.walletAddress;
    expect(parseRecord(formatRecord(unfinished))).not.toHaveProperty("fault");
    expect(parseRecord(formatRecord(unfinished))).not.toHaveProperty("walletAddress");
  });

  test.each([2, 0, "1", null, { a: 1 }])("of version %j is refused as another version's", (version) => {
    expect(parsed((record) => (record["version"] = version))).toEqual({
      fault: "other-version",
      version: JSON.stringify(version),
    });
  });

  const fields = pathsOf(JSON.parse(whole)).filter(([name]) => name !== "version");
  test.each(fields.map((path) => [path.join("."), path] as const))("is damaged without a whole %s", (name, path) => {
    // These two have one meaning only, so that they are written but not read.
    const constant = ["device_key.kty", "device_key.crv"].includes(name);
    const optional = name === "wallet_address";
    for (const value of [undefined, null, 7, "", "\n", [], {}]) {
      if (constant || (optional && value === undefined)) continue;
      expect(parsed((record) => setAt(record, path, value))).toEqual({ fault: "damaged" });
    }
  });

  test("is damaged without its version", () => {
    expect(parsed((record) => setAt(record, ["version"], undefined))).toEqual({ fault: "damaged" });
  });

  test("is damaged with a day that there is not", () => {
    const path = ["session", "expires_at"];
    expect(parsed((record) => setAt(record, path, "2030-99-99T00:00:00.000Z"))).toEqual({ fault: "damaged" });
  });

  test("is damaged when cut off anywhere", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: whole.length - 3 }), (length) => {
        expect(parseRecord(whole.slice(0, length))).toEqual({ fault: "damaged" });
      }),
    );
  });

  test("is never more than damaged, whatever stands in the file", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(parseRecord(text)).toHaveProperty("fault");
      }),
    );
  });

  test("shows no secret when it is printed by mistake", () => {
    const enrolment = sampleEnrolment({ session: { ...sampleEnrolment().session, token: new Secret("a.canary.b") } });
    expect(JSON.stringify(enrolment)).not.toContain("canary");
  });
});
