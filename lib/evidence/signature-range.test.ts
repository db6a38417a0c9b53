import { describe, expect, test } from "vitest";

import { decodeCbor, encodeCbor } from "./cbor.ts";
import { appraise, type Evidence, mediaTypes, type Platform } from "./index.ts";
import { createNitroExample } from "./testing/nitro-example.ts";
import { refusal } from "./testing/refusal.ts";
import { createSnpExample } from "./testing/sev-snp-example.ts";
import { createTdxExample } from "./testing/tdx-example.ts";

const at = new Date("2026-03-01T12:00:00Z");
const expected = { nonce: Buffer.alloc(32, 1), reportData: Buffer.alloc(32, 2), at };
const nitro = createNitroExample(at, expected);
const snp = createSnpExample(at, expected.reportData);
const tdx = createTdxExample(at, expected.reportData);

/** The orders of the groups (SEC 2, sections 2.4.2 and 2.5.1). */
const order = {
  "P-256": Buffer.from("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", "hex"),
  "P-384": Buffer.from(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    "hex",
  ),
};

/** Genuine evidence with another signature r || s, of as many bytes. */
interface Signed {
  platform: Platform;
  curve: keyof typeof order;
  signature: Buffer;
  evidence: (signature: Buffer) => Evidence;
}

const [header, unprotected, payload, cose] = decodeCbor(nitro.document()) as [
  Buffer,
  Map<never, never>,
  Buffer,
  Buffer,
];
const report = snp.report();
const [quote, collateral] = [tdx.quote(), tdx.collateral()];
/** After header and body, and the length of what follows. */
const AT = 48 + 584 + 4;

/** In the report each half stands with its least significant byte first. */
const reversed = (half: Buffer): Buffer => Buffer.from(half).reverse();

const kinds: Record<string, Signed> = {
  "aws-nitro": {
    platform: { type: "aws-nitro", pins: nitro.pins },
    curve: "P-384",
    signature: cose,
    evidence: (signature) => ({
      mediaType: mediaTypes["aws-nitro"],
      evidence: encodeCbor([header, unprotected, payload, signature]),
      endorsements: [],
    }),
  },
  "sev-snp": {
    platform: { type: "sev-snp", pins: snp.pins },
    curve: "P-384",
    signature: Buffer.concat([reversed(report.subarray(0x2a0, 0x2d0)), reversed(report.subarray(0x2e8, 0x318))]),
    evidence: (signature) => {
      const changed = Buffer.from(report);
      reversed(signature.subarray(0, 48)).copy(changed, 0x2a0);
      reversed(signature.subarray(48)).copy(changed, 0x2e8);
      return { mediaType: mediaTypes["sev-snp"], evidence: changed, endorsements: snp.certificates };
    },
  },
  tdx: {
    platform: { type: "tdx", pins: tdx.pins },
    curve: "P-256",
    signature: quote.subarray(AT, AT + 64),
    evidence: (signature) => {
      const changed = Buffer.from(quote);
      signature.copy(changed, AT);
      return { mediaType: mediaTypes.tdx, evidence: changed, endorsements: [collateral] };
    },
  },
};

describe.each(Object.entries(kinds))("a signature of %s", (_, { platform, curve, signature, evidence }) => {
  const size = order[curve].length;
  const halves = [signature.subarray(0, size), signature.subarray(size)] as const;
  const refused = (r: Buffer, s: Buffer): string =>
    refusal(() => appraise(evidence(Buffer.concat([r, s])), expected, [platform])).code;

  test("is good as it was made", () => {
    expect(appraise(evidence(Buffer.from(signature)), expected, [platform]).type).toBe(platform.type);
  });

  test("has an r and an s from 1 to below the order", () => {
    const [r, s] = halves;
    const odd = [Buffer.alloc(size), order[curve], plusOne(order[curve]), Buffer.alloc(size, 0xff)];
    for (const value of odd) {
      expect(refused(value, s)).toBe("SIGNATURE");
      expect(refused(r, value)).toBe("SIGNATURE");
      for (const other of odd) expect(refused(value, other)).toBe("SIGNATURE");
    }
  });

  test("is over what is there, whatever small numbers it is made of", () => {
    for (const r of [1, 2, 3]) {
      for (const s of [1, 2, 3]) {
        expect(
          refused(
            Buffer.concat([Buffer.alloc(size - 1), Buffer.of(r)]),
            Buffer.concat([Buffer.alloc(size - 1), Buffer.of(s)]),
          ),
        ).toBe("SIGNATURE");
      }
    }
  });
});

test("a COSE signature is of 96 bytes, in no other form", () => {
  const { platform, evidence, signature } = kinds["aws-nitro"]!;
  const der = Buffer.concat([
    Buffer.from("3066023100", "hex"),
    signature.subarray(0, 48),
    Buffer.from("023100", "hex"),
    signature.subarray(48),
  ]);
  for (const odd of [der, signature.subarray(1), Buffer.concat([Buffer.of(0), signature]), Buffer.alloc(0)]) {
    expect(refusal(() => appraise(evidence(odd), expected, [platform])).code).toBe("SIGNATURE");
  }
});

function plusOne(value: Buffer): Buffer {
  const next = Buffer.from(value);
  next.writeUInt8(next.readUInt8(next.length - 1) + 1, next.length - 1);
  return next;
}
