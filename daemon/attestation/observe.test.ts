import { describe, expect, test } from "vitest";

import { type EvidenceType, mediaTypes } from "@agentkeys/lib/evidence";
import { mulberry, mutate } from "@agentkeys/lib/evidence/testing/mutation";
import { refusal } from "@agentkeys/lib/evidence/testing/refusal";
import { createQuotingKey, tpm2EvidenceOf } from "@agentkeys/lib/evidence/testing/tpm2";

import { observePlatform } from "./observe.ts";

const at = new Date("2026-03-01T12:00:00Z");
const observing = { roots: ["00".repeat(32)], at };
const key = createQuotingKey();
const quoted = key.quote({ extraData: Buffer.alloc(32), pcrs: new Map([[11, Buffer.alloc(32, 5)]]) });

test("a TPM is written down by its attestation key and by what was measured", () => {
  expect(observePlatform(tpm2EvidenceOf(quoted), observing)).toEqual({
    type: "tpm2",
    code: { pcr11: ["05".repeat(32)] },
    identity: { ak_name: [key.name] },
  });
});

describe("evidence that is none is refused cleanly:", () => {
  test.each(Object.keys(mediaTypes) as EvidenceType[])("%s", (type) => {
    const below = mulberry(9);
    const whole = Buffer.from(tpm2EvidenceOf(quoted).evidence);
    const texts = ["", "{}", "[]", "null", '{"version":1}', "\u0000".repeat(1184)];
    const spoilt = Array.from({ length: 300 }, () => mutate(whole, below)).filter((bytes) => !bytes.equals(whole));
    for (const evidence of [...texts.map((text) => Buffer.from(text)), ...(type === "tpm2" ? spoilt : [])]) {
      const given = { mediaType: mediaTypes[type], evidence, endorsements: [] };
      try {
        observePlatform(given, observing);
      } catch (error) {
        expect(error, evidence.toString()).toHaveProperty("name", "AttestationError");
      }
    }
  });

  test("of a kind that is unknown", () => {
    expect(
      refusal(() => observePlatform({ mediaType: "x", evidence: whole(), endorsements: [] }, observing)).code,
    ).toBe("UNSUPPORTED");
  });
});

function whole(): Buffer {
  return Buffer.alloc(1);
}
