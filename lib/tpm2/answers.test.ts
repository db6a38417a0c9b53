import { generateKeyPairSync } from "node:crypto";

import fc from "fast-check";
import { expect, test } from "vitest";

import {
  createPrimary,
  getProperty,
  getRandom,
  nsmRequest,
  quote,
  readCounter,
  readNv,
  readPcrs,
  readPublic,
  startSession,
  template,
  TpmChannelError,
  TpmError,
  TpmFormatError,
  tpmOver,
  TpmReader,
  type TpmSequence,
  unseal,
} from "./index.ts";
import { nameOf } from "./public-area.ts";

const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });

/** What an answer may lead to, besides a value. */
function isClean(error: unknown): boolean {
  return (
    error instanceof TpmError ||
    error instanceof TpmChannelError ||
    error instanceof TpmFormatError ||
    // What an NV index holds is not what it should: said in words of ours.
    (error instanceof RangeError && error.message.startsWith("the NV index"))
  );
}

const object = { handle: 0x80000000, public: template.storageRootKey, name: nameOf(template.storageRootKey) };
const session = {
  handle: 0x03000000,
  kind: "policy",
  hash: "sha256",
  key: Buffer.alloc(32, 1),
  nonceTpm: Buffer.alloc(16, 2),
} as const;
const commands: ((tpm: TpmSequence) => Promise<unknown>)[] = [
  (tpm) => getRandom(tpm, 32),
  (tpm) => getProperty(tpm, 0x105),
  (tpm) => readPcrs(tpm, [0, 7, 11]),
  (tpm) => readPublic(tpm, 0x81010001),
  (tpm) => createPrimary(tpm, "owner", template.storageRootKey),
  (tpm) => startSession(tpm, "hmac", { ...object, public: template.verificationKey(publicKey) }),
  (tpm) => quote(tpm, object, Buffer.alloc(32), [11]),
  (tpm) => readNv(tpm, 0x01c00002),
  (tpm) => readCounter(tpm, 0x01800a10, { ...session }),
  (tpm) => unseal(tpm, object, { ...session }),
  (tpm) => nsmRequest(tpm, { ...object, public: template.verificationKey(publicKey) }, Buffer.alloc(100)),
];

/** A header that is right, so that what is in it gets read. */
const answer = fc
  .tuple(fc.constantFrom(0x8001, 0x8002), fc.constantFrom(0, 0, 0, 0x922, 0x99d), fc.uint8Array({ maxLength: 200 }))
  .map(([tag, code, body]) => {
    const header = Buffer.alloc(10);
    header.writeUInt16BE(tag);
    header.writeUInt32BE(10 + body.length, 2);
    header.writeUInt32BE(code, 6);
    return Buffer.concat([header, body]);
  });

test("whatever answers, a command ends with a value or an error that says what was wrong", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(commands.length - 1),
      fc.array(
        fc.oneof(
          answer,
          fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
        ),
        {
          minLength: 1,
          maxLength: 4,
        },
      ),
      async (which, answers) => {
        let next = 0;
        const transmit = (): Promise<Buffer> => {
          const found = answers[next++ % answers.length];
          // More often than any command that is refused for being too early.
          if (next > 100) throw new Error("asked without end");
          return Promise.resolve(found ?? Buffer.alloc(0));
        };
        const tpm = tpmOver({ transmit, close: () => Promise.resolve() }, { sleep: () => Promise.resolve() });
        try {
          await tpm.use((t) => commands[which]?.(t) ?? Promise.resolve());
        } catch (error) {
          if (!isClean(error)) throw error;
        }
      },
    ),
    { numRuns: 4000 },
  );
});

test("an answer that is not whole is malformed", () => {
  expect(() => TpmReader.whole(Buffer.of(1, 2), "it", (reader) => reader.u32())).toThrow("it ends too early");
});
