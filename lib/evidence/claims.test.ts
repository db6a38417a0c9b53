import { createHash } from "node:crypto";

import { describe, expect, test } from "vitest";

import { canonicalJson } from "./canonical-json.ts";
import { type Claims, claimsDigest, encodeClaims, parseClaims } from "./claims.ts";
import { AttestationError, type AttestationErrorCode } from "./evidence.ts";
import { mulberry, mutate } from "./testing/mutation.ts";

const VKEY = `signer-1.example+a1b2c3d4+${"A".repeat(44)}`;
const claims: Claims = {
  nonce: Buffer.alloc(32, 0xfb),
  issuedAt: 1_893_456_000,
  bootId: "b".repeat(22),
  tlsSpkiSha256: Buffer.alloc(32, 1),
  tlsExporter: Buffer.alloc(32, 2),
  identityKey: Buffer.alloc(32, 3),
  signerVersion: "0.1.0",
  settings: { general_messages: false, allowed_domains: ["broker.example"], broker_issuer: "https://broker.example" },
  log: { vkey: VKEY, size: 7, root: Buffer.alloc(32, 4) },
  nvCounter: 12,
  minSecurityVersion: 3,
};
const text = Buffer.from(encodeClaims(claims)).toString();

test("the claims are one line of canonical JSON, and are read back as they were", () => {
  expect(text).toBe(
    `{"boot_id":"${"b".repeat(22)}","eat_nonce":"${"-_v7".repeat(11).slice(0, 43).replace(/.$/, "s")}",` +
      `"eat_profile":"tag:agentkeys,2026:evidence-v1","iat":1893456000,"identity_pub":"ed25519:${"03".repeat(32)}",` +
      `"log":{"root":"${"04".repeat(32)}","size":7,"vkey":"${VKEY}"},"min_security_version":3,"nv_counter":12,` +
      `"settings":{"allowed_domains":["broker.example"],"broker_issuer":"https://broker.example","general_messages":false},` +
      `"signer_version":"0.1.0","tls_exporter":"${"02".repeat(32)}","tls_spki_sha256":"${"01".repeat(32)}"}`,
  );
  expect(parseClaims(Buffer.from(text))).toEqual(claims);
});

test("the counter and the lowest release may be missing, for platforms that have none", () => {
  const without = { ...claims };
  delete without.nvCounter;
  delete without.minSecurityVersion;
  expect(parseClaims(encodeClaims(without))).toEqual(without);
});

test("the digest names its purpose", () => {
  const expected = createHash("sha256")
    .update(Buffer.from(`agentkeys/evidence/v1\0${text}`))
    .digest();
  expect(Buffer.from(claimsDigest(encodeClaims(claims)))).toEqual(expected);
});

describe("refuses", () => {
  const changed = (from: string | RegExp, to: string): Buffer => {
    const other = text.replace(from, to);
    expect(other).not.toBe(text);
    return Buffer.from(other);
  };
  const cases: [string, AttestationErrorCode, () => Uint8Array][] = [
    ["another profile", "UNSUPPORTED", () => changed("evidence-v1", "evidence-v2")],
    ["what is no JSON", "MALFORMED", () => Buffer.from(text.slice(1))],
    ["what is no UTF-8", "MALFORMED", () => Buffer.concat([Buffer.from([0xff]), Buffer.from(text)])],
    ["a list", "MALFORMED", () => Buffer.from(`[${text}]`)],
    ["null", "MALFORMED", () => Buffer.from("null")],
    ["an unknown member", "MALFORMED", () => changed("{", '{"a":1,')],
    ["an unknown member of the log", "MALFORMED", () => changed('"log":{', '"log":{"a":1,')],
    ["a member that came twice", "MALFORMED", () => changed('"iat":1893456000', '"iat":1,"iat":1893456000')],
    ["white space", "MALFORMED", () => changed(",", ", ")],
    ["another order", "MALFORMED", () => changed(/"iat":1893456000,("identity_pub":"[^"]*"),/, '$1,"iat":1893456000,')],
    ["a number written another way", "MALFORMED", () => changed("1893456000", "1.893456e9")],
    ["a negative number", "MALFORMED", () => changed('"size":7', '"size":-7')],
    ["a number with a fraction", "MALFORMED", () => changed('"size":7', '"size":7.5')],
    ["a number beyond what is exact", "MALFORMED", () => changed('"size":7', '"size":9007199254740993')],
    ["upper-case hex", "MALFORMED", () => changed("03".repeat(32), "AB".repeat(32))],
    ["a hash that is too short", "MALFORMED", () => changed("02".repeat(32), "02".repeat(31))],
    ["base64url with bits to spare", "MALFORMED", () => changed(/("eat_nonce":"[^"]*)s"/, '$1t"')],
    ["a nonce that is too short", "MALFORMED", () => encodeClaims({ ...claims, nonce: Buffer.alloc(15) })],
    ["a nonce that is too long", "MALFORMED", () => encodeClaims({ ...claims, nonce: Buffer.alloc(65) })],
    ["another kind of identity key", "MALFORMED", () => changed("ed25519:", "rsa:")],
    ["a setting that is an object", "MALFORMED", () => changed('"general_messages":false', '"general_messages":{}')],
    ["a setting with a list of numbers", "MALFORMED", () => changed('["broker.example"]', "[1]")],
    ["an escape that needs none", "MALFORMED", () => changed("broker.example", "broker\\u002eexample")],
    ["half a character", "MALFORMED", () => changed("broker.example", "\\ud800")],
    ["half a character in the log's name", "MALFORMED", () => changed("signer-1.example", "\\ud800")],
    ["what clears a terminal", "MALFORMED", () => changed("broker.example", "\u009b2J")],
    ["what turns the direction of writing, in a list", "MALFORMED", () => changed('"broker.example"', '"\u202ea"')],
    ["half a character in a name", "MALFORMED", () => changed('"general_messages"', '"\\udc00"')],
    ["what is nested without end", "MALFORMED", () => Buffer.from("[".repeat(16_000))],
    ["more than 16 KiB", "MALFORMED", () => Buffer.from(text + " ".repeat(16 * 1024))],
    ...["eat_nonce", "iat", "boot_id", "tls_spki_sha256", "tls_exporter", "identity_pub", "signer_version", "log"].map(
      (name): [string, AttestationErrorCode, () => Uint8Array] => [
        `claims without ${name}`,
        "MALFORMED",
        () => {
          const rest = JSON.parse(text) as Record<string, never>;
          Reflect.deleteProperty(rest, name);
          return Buffer.from(canonicalJson(rest));
        },
      ],
    ),
  ];
  test.each(cases)("%s", (_, code, make) => {
    const encoded = make();
    let error: unknown;
    try {
      parseClaims(encoded);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(AttestationError);
    expect((error as AttestationError).code).toBe(code);
  });
});

test("what is read from spoilt claims is what they say, to the byte, and all else is refused cleanly", () => {
  const [bytes, below] = [Buffer.from(text), mulberry(7)];
  const pieces = [
    "\\ud800",
    "\u202e",
    "\u0000",
    '"iat":1,',
    "{",
    "[",
    "\\u0061",
    "\u00e4",
    "-0",
    "1e3",
    " ",
    "__proto__",
  ];
  for (let n = 0; n < 5000; n++) {
    const at = below(bytes.length);
    const piece = Buffer.from(pieces[below(pieces.length)] ?? "");
    const inserted = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at + below(2) * piece.length)]);
    const spoilt = below(2) === 0 ? mutate(bytes, below) : inserted;
    try {
      expect(Buffer.from(encodeClaims(parseClaims(spoilt)))).toEqual(spoilt);
    } catch (error) {
      expect(error, spoilt.toString()).toBeInstanceOf(AttestationError);
    }
  }
});

describe("canonical JSON", () => {
  // RFC 8785 section 3.2.3: sorted by UTF-16 code units.
  test("sorts as RFC 8785's example does", () => {
    const names = ["\u20ac", "\r", "\ufb33", "1", "\u{1f600}", "\u0080", "\u00f6"];
    const sorted = JSON.parse(canonicalJson(Object.fromEntries(names.map((name) => [name, 0])))) as object;
    // Names that look like numbers come first in an object of JavaScript's; "\r" < "1" in the text itself.
    expect(canonicalJson(Object.fromEntries(names.map((name) => [name, 0])))).toBe(
      `{"\\r":0,"1":0,"\u0080":0,"\u00f6":0,"\u20ac":0,"\u{1f600}":0,"\ufb33":0}`,
    );
    expect(Object.keys(sorted)).toHaveLength(names.length);
  });

  // RFC 8785 section 3.2.2
  test("writes numbers and text as RFC 8785's example does", () => {
    const value = {
      numbers: [333333333.3333333, 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
      literals: [null, true, false],
    };
    expect(canonicalJson(value)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  test("refuses what has no canonical form", () => {
    expect(() => canonicalJson(NaN)).toThrow();
    expect(() => canonicalJson("\ud800")).toThrow();
    expect(() => canonicalJson("a\udc00")).toThrow();
    expect(canonicalJson("\u{1f600}")).toBe('"\u{1f600}"');
  });
});
