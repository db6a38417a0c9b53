import { execFileSync } from "node:child_process";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { createAwsKms } from "@agentkeys/keys/backends/tee/kms/aws-kms.ts";
import { EnvelopeRefused, openEnvelopedData } from "@agentkeys/keys/backends/tee/kms/enveloped-data.ts";
import { createKmsSealer, type Kms } from "@agentkeys/keys/backends/tee/kms/kms-sealer.ts";
import { attestKeyIn, documentsByProgram } from "@agentkeys/keys/backends/tee/kms/nitro-document.ts";
import { UnsealRefused } from "@agentkeys/keys/backends/tee/sealer.ts";
import { der, derOctets } from "@agentkeys/lib/evidence/der-writer";
import { issue } from "@agentkeys/lib/evidence/certificate";
import { createTestRoot } from "@agentkeys/lib/evidence/testing/authority";
import { issueNitroDocument } from "@agentkeys/lib/evidence/testing/nitro";
import { readCertificate } from "@agentkeys/lib/evidence/x509";
import { systemRandom } from "@agentkeys/lib/random";

import { envelope, type EnvelopeForgery } from "./envelope.ts";
import { type LocalKms, startLocalKms } from "./start.ts";

const clock = (): number => Date.now();
const minutes = (n: number): Date => new Date(clock() + n * 60_000);
const validity = { notBefore: minutes(-60), notAfter: minutes(60) };
const [root, otherRoot] = [
  createTestRoot("test nitro root", { random: systemRandom, validity }),
  createTestRoot("another root", { random: systemRandom, validity }),
];

/** A hypervisor that vouches for an enclave that runs the code of `pcr0`. */
const hypervisor =
  (pcr0: number, { by = root, madeAt = minutes(0) } = {}) =>
  (publicKey: Uint8Array): Promise<Uint8Array> =>
    Promise.resolve(
      issueNitroDocument(
        {
          moduleId: "i-0123-enc0",
          madeAt,
          source: "enclave",
          pcrs: new Map([0, 1, 2, 3, 8].map((index) => [index, Buffer.alloc(48, pcr0 + index)])),
          publicKey: Buffer.from(publicKey),
          userData: null,
          nonce: null,
        },
        { ...by.endEntity("i-0123-enc0"), chain: by.chain },
      ),
    );

const OURS = 0x40;
const imageOf = (pcr0: number): string => Buffer.alloc(48, pcr0).toString("hex");
/** What docs/tee.md tells an operator to write. */
const policyFor = (...images: number[]) => ({
  Version: "2012-10-17",
  Statement: {
    Effect: "Allow",
    Action: ["kms:GenerateDataKey", "kms:Decrypt"],
    Resource: "*",
    Condition: { StringEqualsIgnoreCase: { "kms:RecipientAttestation:ImageSha384": images.map(imageOf) } },
  },
});

let local: LocalKms;
let kms: Kms & { close(): void };
beforeAll(async () => {
  local = await startLocalKms({ roots: [readCertificate(root.der).fingerprint], clock, random: systemRandom });
  kms = createAwsKms({
    region: "eu-central-1",
    endpoint: local.url,
    maxAttempts: 1,
    credentials: { accessKeyId: local.admin.accessKeyId, secretAccessKey: local.admin.secretAccessKey },
  });
  local.setPolicy(policyFor(OURS));
});
afterEach(() => {
  local.tamper = undefined;
  local.setPolicy(policyFor(OURS));
});
afterAll(async () => {
  kms.close();
  await local.close();
});

const sealerFor = (attest = hypervisor(OURS), use: Kms = kms) =>
  createKmsSealer({ kms: use, attest, keyId: local.keyId, random: systemRandom });
const secret = Buffer.from("0123456789abcdef0123456789abcdef");
const state = Buffer.from("state 1");

async function refusalOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof UnsealRefused)) throw new Error(`not refused, but ${String(error)}`);
  return `${error.refusal}: ${error.message}`;
}

describe("a master secret that is sealed by a KMS", () => {
  test("comes back to the measured code, by another key pair each time, and is nowhere in what is kept", async () => {
    const blob = Buffer.from(await sealerFor().seal(secret, state));
    expect(blob.includes(secret)).toBe(false);
    expect(await sealerFor().unseal(blob, state)).toEqual(secret);
  });

  test("stays sealed to other code, and opens for a release that the key's policy names as well", async () => {
    const blob = await sealerFor().seal(secret, state);
    const changed = sealerFor(hypervisor(OURS + 1));
    expect(await refusalOf(changed.unseal(blob, state))).toMatch(
      /DEVICE: .*AccessDeniedException.*RecipientAttestation/,
    );
    local.setPolicy(policyFor(OURS, OURS + 1));
    expect(await changed.unseal(blob, state)).toEqual(secret);
  });

  test.each([
    ["of another hypervisor", hypervisor(OURS, { by: otherRoot })],
    ["that is old", hypervisor(OURS, { madeAt: minutes(-6) })],
  ])("stays sealed to a document %s", async (_what, attest) => {
    const blob = await sealerFor().seal(secret, state);
    expect(await refusalOf(sealerFor(attest).unseal(blob, state))).toMatch(/DEVICE: .*ValidationException/);
  });

  test("belongs to one state file, and is refused when any byte of it was changed", async () => {
    const blob = Buffer.from(await sealerFor().seal(secret, state));
    expect(await refusalOf(sealerFor().unseal(blob, Buffer.from("state 2")))).toMatch(/InvalidCiphertextException/);
    const fields = JSON.parse(blob.toString()) as { sealed: string };
    const sealed = Buffer.from(fields.sealed, "base64");
    sealed[0] = (sealed[0] ?? 0) ^ 1;
    const changed = Buffer.from(JSON.stringify({ ...fields, sealed: sealed.toString("base64") }));
    expect(await refusalOf(sealerFor().unseal(changed, state))).toMatch(/^BLOB: /);
    expect(await refusalOf(sealerFor().unseal(Buffer.from("{}"), state))).toMatch(/^BLOB: /);
  });

  test.each([
    [
      "answers in the clear",
      (a: Record<string, unknown>) => void (a["Plaintext"] = secret.toString("base64")),
      "in the clear",
    ],
    [
      "uses another key",
      (a: Record<string, unknown>) => void (a["KeyId"] = "arn:aws:kms:eu-central-1:1:key/x"),
      "another key",
    ],
    [
      "gives nothing for the recipient",
      (a: Record<string, unknown>) => delete a["CiphertextForRecipient"],
      "nothing for",
    ],
  ])("is not made by a KMS that %s", async (_what, tamper, why) => {
    local.tamper = tamper;
    expect(await refusalOf(sealerFor().seal(secret, state))).toContain(why);
  });

  test("stays sealed while the KMS cannot be reached, and says so", async () => {
    const away = createAwsKms({
      region: "eu-central-1",
      endpoint: "http://127.0.0.1:1",
      maxAttempts: 1,
      credentials: local.admin,
    });
    expect(await refusalOf(sealerFor(hypervisor(OURS), away).seal(secret, state))).toMatch(/cannot be reached/);
    away.close();
  });
});

describe("an envelope of a KMS", () => {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

  test.each<[string, EnvelopeForgery]>([
    ["a version that is not known", { version: 0 }],
    ["SHA-1 for its mask", { maskHash: "1.3.14.3.2.26" }],
    ["another cipher", { cipher: "2.16.840.1.101.3.4.1.2" }],
  ])("is refused with %s", (_what, forgery) => {
    expect(() => openEnvelopedData(envelope(secret, publicKey, systemRandom, forgery), privateKey)).toThrow(
      EnvelopeRefused,
    );
  });

  test("that is for another key, or is not one at all, is refused without a stack of the parser", () => {
    const stranger = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    expect(() => openEnvelopedData(envelope(secret, publicKey, systemRandom), stranger)).toThrow(EnvelopeRefused);
    const good = envelope(secret, publicKey, systemRandom);
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(good.length), (at, flip, cut) => {
        const changed = Buffer.from(good);
        changed[at] = (changed[at] ?? 0) ^ flip;
        for (const bytes of [changed, changed.subarray(0, cut)]) {
          try {
            openEnvelopedData(bytes, privateKey);
          } catch (error) {
            expect(error).toBeInstanceOf(EnvelopeRefused);
          }
        }
      }),
    );
  });

  test.runIf(existsSync("/usr/bin/openssl"))("is opened as OpenSSL makes it, in BER as well as in DER", () => {
    const folder = mkdtempSync(join(tmpdir(), "agentkeys-cms-"));
    try {
      const spki = publicKey.export({ format: "der", type: "spki" });
      const certificate = issue({
        subject: "recipient",
        publicKey: createPublicKey({ key: spki, format: "der", type: "spki" }),
        issuer: { subject: root.subject, key: root.key },
        ...validity,
        extensions: [{ oid: "2.5.29.14", critical: false, value: derOctets(Buffer.alloc(20, 7)) }],
        random: systemRandom,
      });
      writeFileSync(join(folder, "recipient.pem"), certificate.pem);
      const options = [
        "cms",
        "-encrypt",
        "-binary",
        "-outform",
        "DER",
        "-keyid",
        "-aes-256-cbc",
        "-recip",
        "recipient.pem",
      ];
      const oaep = ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"];
      for (const form of [[], ["-stream"]]) {
        const made = execFileSync("/usr/bin/openssl", [...options, ...form, ...oaep], { cwd: folder, input: secret });
        expect(openEnvelopedData(made, privateKey)).toEqual(secret);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("that nests without end is refused", () => {
    let nested: Buffer = Buffer.alloc(0);
    for (let each = 0; each < 1000; each++) nested = der(0x30, nested);
    expect(() => openEnvelopedData(nested, privateKey)).toThrow(EnvelopeRefused);
  });
});

test("a document comes from the program that the image brings, and its absence is told in words", async () => {
  const absent = attestKeyIn(documentsByProgram("/nonexistent/nitro-tpm-attest"));
  const echo = attestKeyIn(documentsByProgram("/bin/echo"));
  expect(Buffer.from(await echo(Buffer.of(1))).toString()).toMatch(/^--public-key .*public-key\n$/);
  expect(await refusalOf(absent(Buffer.of(1)))).toMatch(
    /DEVICE: \/nonexistent\/nitro-tpm-attest gave no attestation document/,
  );
});
