import { createPublicKey, createSign, generateKeyPairSync, X509Certificate } from "node:crypto";
import { connect, createServer, type TLSSocket } from "node:tls";
import type { AddressInfo } from "node:net";

import { describe, expect, test } from "vitest";

import { systemRandom } from "../random.ts";
import { basicConstraints, type Extension, keyUsage, selfSigned } from "./certificate.ts";
import { readCertificates, readPem, verifyChain } from "./chain.ts";
import { bitStringOf, derTag, oidOf, readDer, sequenceOf, timeOf, unsignedOf, booleanOf, childrenOf } from "./der.ts";
import { der, derBits, derOid, derSequence, derTime, derUnsigned, derUtf8 } from "./der-writer.ts";
import type { AttestationError } from "./evidence.ts";
import { createTestRoot, type TestAuthority, type TestKeys } from "./testing/authority.ts";
import { flipped } from "./testing/mutation.ts";
import { refusal } from "./testing/refusal.ts";
import { readCertificate } from "./x509.ts";

const at = new Date("2026-03-01T12:00:00Z");
const days = (n: number): Date => new Date(at.getTime() + n * 864e5);
const validity = { notBefore: days(-10), notAfter: days(10) };
const making = { random: systemRandom, validity };
const root = createTestRoot("root", making);
const authority = root.authority("authority");
const leaf = authority.endEntity("leaf");

const check = (chain: readonly Buffer[], by: TestAuthority = root, time = at): string =>
  verifyChain(readCertificates(chain, "test"), {
    roots: ["00", readCertificate(by.der).fingerprint],
    at: time,
    what: "test",
  }).name;
const refused = (chain: readonly Buffer[], by: TestAuthority = root, time = at): string =>
  refusal(() => check(chain, by, time)).code;

describe("a chain", () => {
  test.each<TestKeys>(["P-256", "P-384", "RSA"])("of %s keys leads to its pinned root", (keys) => {
    const top = createTestRoot("root", { ...making, keys });
    const middle = top.authority("authority", { keys });
    expect(check([middle.endEntity("leaf", { keys }).der, ...middle.chain], top)).toBe("leaf");
  });

  test("does not lead to another root, nor to none", () => {
    expect(refused([leaf.der, ...authority.chain], createTestRoot("root", making))).toBe("ROOT");
    expect(refused([leaf.der, authority.der])).toBe("ROOT");
    expect(refused([leaf.der])).toBe("MALFORMED");
    expect(refused([])).toBe("MALFORMED");
    expect(refused([leaf.der, ...Array.from({ length: 10 }, () => authority.der)])).toBe("MALFORMED");
  });

  test("is broken by a link left out, turned around or borrowed", () => {
    const other = root.authority("authority");
    expect(refused([leaf.der, root.der])).toBe("ROOT");
    expect(refused([authority.der, leaf.der, root.der])).toBe("ROOT");
    expect(refused([leaf.der, ...other.chain])).toBe("SIGNATURE");
  });

  test("is valid only while all of its certificates are", () => {
    const brief = root.authority("authority", { validity: { notBefore: days(-1), notAfter: days(1) } });
    const chain = [brief.endEntity("leaf").der, ...brief.chain];
    expect(check(chain)).toBe("leaf");
    expect(refused(chain, root, days(2))).toBe("STALE");
    expect(refused(chain, root, days(-2))).toBe("STALE");
    expect(refused(chain, root, new Date(NaN))).toBe("STALE");
  });

  const under = (extensions: readonly Extension[]): readonly Buffer[] => {
    const odd = root.authority("odd", { extensions });
    return [odd.endEntity("leaf").der, ...odd.chain];
  };
  const unknown = (critical: boolean): Extension => ({ oid: "1.3.6.1.4.1.99999.1", critical, value: derUtf8("x") });

  test("goes only through authorities that may issue certificates", () => {
    expect(refused(under([basicConstraints("end-entity"), keyUsage("keyCertSign")]))).toBe("ROOT");
    expect(refused(under([keyUsage("keyCertSign")]))).toBe("ROOT");
    expect(refused(under([basicConstraints({})]))).toBe("ROOT");
    expect(refused(under([basicConstraints({}), keyUsage("digitalSignature")]))).toBe("ROOT");
  });

  test("has no more authorities than one of them allows", () => {
    const narrow = createTestRoot("narrow", { ...making, pathLength: 0 });
    expect(check([narrow.endEntity("leaf").der, ...narrow.chain], narrow)).toBe("leaf");
    const below = narrow.authority("below");
    expect(refused([below.endEntity("leaf").der, ...below.chain], narrow)).toBe("ROOT");
  });

  test("ends in a key that is for signatures, and no authority", () => {
    const entity = (...extensions: readonly Extension[]): readonly Buffer[] => [
      root.endEntity("leaf", { extensions }).der,
      root.der,
    ];
    expect(check(entity())).toBe("leaf");
    expect(refused(entity(keyUsage("cRLSign")))).toBe("ROOT");
    expect(refused(entity(basicConstraints({}), keyUsage("digitalSignature", "keyCertSign")))).toBe("ROOT");
  });

  test("says nothing critical that is not understood, anywhere", () => {
    const plain = [basicConstraints({}), keyUsage("keyCertSign")];
    expect(check(under([...plain, unknown(false)]))).toBe("leaf");
    expect(refused(under([...plain, unknown(true)]))).toBe("UNSUPPORTED");
    expect(refused(under([...plain, unknown(false), unknown(false)]))).toBe("MALFORMED");
    expect(refused([root.endEntity("leaf", { extensions: [unknown(true)] }).der, root.der])).toBe("UNSUPPORTED");
  });

  describe("to a TPM's endorsement key", () => {
    const EK = "2.23.133.8.1";
    const usage = (...oids: readonly string[]): Extension => ({
      oid: "2.5.29.37",
      critical: false,
      value: derSequence(...oids.map(derOid)),
    });
    /** Key encipherment, and key agreement. */
    const [enciphers, agrees] = [0x20, 0x08].map((octet): Extension => {
      const value = derBits(Buffer.of(octet), Math.log2(octet));
      return { oid: "2.5.29.15", critical: true, value };
    });
    const ca = [basicConstraints({}), keyUsage("keyCertSign")];
    const outcome = (
      leafSays: readonly Extension[],
      caSays: readonly Extension[] = [],
      keys: TestKeys = "RSA",
    ): string => {
      const maker = root.authority("maker", { extensions: [...ca, ...caSays] });
      const chain = [maker.endEntity("leaf", { extensions: leafSays, keys }).der, ...maker.chain];
      const rules = { roots: [readCertificate(root.der).fingerprint], at, what: "test" } as const;
      const verify = (): unknown => verifyChain(readCertificates(chain, "test"), { ...rules, purpose: "endorsement" });
      try {
        verify();
        return "good";
      } catch (error) {
        return (error as AttestationError).code;
      }
    };

    test("says so, itself or by its authority, and says nothing else", () => {
      expect(outcome([enciphers!, usage(EK)])).toBe("good");
      expect(outcome([enciphers!, usage("2.23.133.8.9", EK)])).toBe("good");
      expect(outcome([enciphers!], [usage(EK)])).toBe("good");
      expect(outcome([enciphers!])).toBe("ROOT");
      expect(outcome([enciphers!, usage("1.3.6.1.5.5.7.3.1")])).toBe("ROOT");
      expect(outcome([enciphers!, usage("1.3.6.1.5.5.7.3.1")], [usage(EK)])).toBe("ROOT");
      expect(outcome([enciphers!, usage(EK)], [usage("2.23.133.8.3")])).toBe("ROOT");
      expect(outcome([enciphers!, usage("2.5.29.37.0")])).toBe("ROOT");
    });

    test("is a key that secrets are sent to, in the way of its kind", () => {
      expect(outcome([agrees!, usage(EK)], [], "P-256")).toBe("good");
      expect(outcome([agrees!, usage(EK)], [], "RSA")).toBe("ROOT");
      expect(outcome([enciphers!, usage(EK)], [], "P-256")).toBe("ROOT");
      expect(outcome([keyUsage("digitalSignature"), usage(EK)])).toBe("ROOT");
      expect(outcome([usage(EK)])).toBe("ROOT");
    });

    test("signs no evidence, nor does anything else that was certified for a purpose of its own", () => {
      const signs = keyUsage("digitalSignature");
      expect(refused([root.endEntity("leaf", { extensions: [signs, usage(EK)] }).der, root.der])).toBe("ROOT");
      expect(refused(under([...ca, usage("1.3.6.1.5.5.7.3.1")]))).toBe("ROOT");
      const critical = { ...usage("1.3.6.1.5.5.7.3.1"), critical: true };
      expect(refused([root.endEntity("leaf", { extensions: [signs, critical] }).der, root.der])).toBe("ROOT");
    });
  });

  test("cannot be changed in any byte", () => {
    const chain = [leaf.der, ...authority.chain];
    chain.forEach((certificate, position) => {
      for (let index = 0; index < certificate.length; index += 3) {
        const spoilt = chain.with(position, flipped(certificate, index));
        expect(refused(spoilt), `certificate ${position}, byte ${index}`).toBeDefined();
      }
    });
  });
});

describe("a certificate is refused", () => {
  test("that is signed with SHA-1, or by a short RSA key", () => {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
    const short = selfSigned({ key: privateKey, subject: "x", names: ["x"], ...validity, random: systemRandom });
    expect(refusal(() => readCertificate(short.der)).code).toBe("UNSUPPORTED");

    const [tbs] = sequenceOf(readDer(leaf.der));
    const sha1 = derSequence(derOid("1.2.840.10045.4.1"));
    const parts = sequenceOf(tbs).map(({ encoded }) => encoded);
    const weak = derSequence(...parts.with(2, sha1));
    const signature = createSign("sha1").update(weak).sign(authority.key);
    expect(refusal(() => readCertificate(derSequence(weak, sha1, derBits(signature)))).code).toBe("UNSUPPORTED");
    expect(refusal(() => readCertificate(derSequence(tbs!.encoded, sha1, derBits(signature)))).code).toBe("MALFORMED");
  });

  test("with bytes after it, cut off, overlong, or no certificate at all", () => {
    expect(refusal(() => readCertificate(Buffer.concat([leaf.der, Buffer.of(0)]))).code).toBe("MALFORMED");
    expect(refusal(() => readCertificate(leaf.der.subarray(0, -1))).code).toBe("MALFORMED");
    expect(refusal(() => readCertificate(Buffer.alloc(9000))).code).toBe("MALFORMED");
    expect(refusal(() => readCertificate(Buffer.from("-----BEGIN CERTIFICATE-----"))).code).toBe("MALFORMED");
    expect(
      refusal(() => readCertificate(derSequence(derSequence(), derSequence(), derBits(Buffer.of(0))))),
    ).toBeDefined();
  });
});

test("a self-signed certificate serves TLS 1.3 to a client that pins it", async () => {
  const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const names = ["localhost", "127.0.0.1", "::1"];
  const made = selfSigned({
    key,
    subject: "worker",
    names,
    notBefore: days(-1),
    notAfter: days(9999),
    random: systemRandom,
  });
  const read = new X509Certificate(made.pem);
  expect(read.raw.equals(made.der)).toBe(true);
  expect(read.subjectAltName).toBe("DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1");
  expect(read.verify(createPublicKey(key))).toBe(true);
  expect(readCertificate(made.der)).toMatchObject({ name: "worker", ca: false, notAfter: days(9999) });

  const server = createServer({
    key: key.export({ format: "pem", type: "pkcs8" }),
    cert: made.pem,
    minVersion: "TLSv1.3",
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const socket: TLSSocket = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", ca: made.pem });
  const authorized = await new Promise((resolve, reject) => {
    socket.once("secureConnect", () => resolve(socket.authorized)).once("error", reject);
  });
  expect(authorized).toBe(true);
  socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

test("PEM is read in its one strict form", () => {
  const pem = selfSigned({ key: authority.key, subject: "x", names: ["x"], ...validity, random: systemRandom }).pem;
  expect(readPem(pem + pem, "test")).toHaveLength(2);
  for (const odd of [
    "",
    "x",
    pem.trimEnd(),
    ` ${pem}`,
    pem + "\n",
    pem.replaceAll("\n", "\r\n"),
    pem.replace("MII", "M II"),
    pem + "x" + pem,
  ]) {
    expect(refusal(() => readPem(odd, "test")).code).toBe("MALFORMED");
  }
});

describe("DER", () => {
  const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

  test.each([
    ["a length that could be shorter", "04 81 01 00"],
    ["a long length that could be shorter", "04 82 00 80" + "00".repeat(128)],
    ["an indefinite length", "30 80 00 00"],
    ["a length beyond the bytes", "04 02 00"],
    ["a length of four octets", "04 84 00 00 00 01 00"],
    ["a tag of several octets", "1f 81 01 00"],
    ["bytes after the value", "05 00 00"],
    ["nothing", ""],
    ["half a header", "30"],
    ["half a length", "30 82 01"],
  ])("refuses %s", (_what, bytes) => {
    expect(refusal(() => readDer(hex(bytes))).code).toBe("MALFORMED");
  });

  test.each<[string, string, (value: ReturnType<typeof readDer>) => unknown]>([
    ["a negative integer", "02 01 80", unsignedOf],
    ["an integer with a needless zero", "02 02 00 01", unsignedOf],
    ["an integer of no octets", "02 00", unsignedOf],
    ["a boolean that is neither 00 nor ff", "01 01 01", booleanOf],
    ["unused bits that are set", "03 02 01 01", bitStringOf],
    ["more than seven unused bits", "03 02 08 00", bitStringOf],
    ["an empty bit string", "03 00", bitStringOf],
    ["an object identifier that is cut off", "06 02 2a 86", oidOf],
    ["an object identifier with a needless octet", "06 03 2a 80 01", oidOf],
    ["an arc beyond 32 bits", "06 07 2a ff ff ff ff ff 7f", oidOf],
    ["a time in another zone", "17 11 " + Buffer.from("260301120000+0100").toString("hex"), timeOf],
    ["the 30th of February", "17 0d " + Buffer.from("260230120000Z").toString("hex"), timeOf],
    ["children of a primitive value", "04 00", childrenOf],
    ["another tag", "04 00", sequenceOf],
  ])("refuses %s", (_what, bytes, read) => {
    expect(refusal(() => read(readDer(hex(bytes)))).code).toBe("MALFORMED");
  });

  test("reads what it writes", () => {
    for (const oid of ["1.2.840.113741.1.13.1", "2.5.29.15", "2.16.840.1.101.3.4.2.2", "0.9.2342"]) {
      expect(oidOf(readDer(derOid(oid)))).toBe(oid);
    }
    for (const length of [0, 1, 127, 128, 255, 256, 65_535, 65_536]) {
      expect(readDer(der(derTag.octetString, Buffer.alloc(length))).content).toHaveLength(length);
    }
    for (const value of [0, 1, 127, 128, 255, 256, 2 ** 32 - 1]) {
      const octets = unsignedOf(readDer(derUnsigned(value)));
      expect(octets.readUIntBE(0, octets.length)).toBe(value);
    }
    for (const time of [
      "1999-12-31T23:59:59Z",
      "2026-02-28T00:00:00Z",
      "2049-12-31T23:59:59Z",
      "2050-01-01T00:00:00Z",
    ]) {
      expect(timeOf(readDer(derTime(new Date(time))))).toEqual(new Date(time));
    }
  });
});
