import { spawnSync } from "node:child_process";
import { createHmac, generateKeyPairSync, randomBytes, sign, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import {
  activateCredential,
  authorizationMessage,
  create,
  createPrimary,
  defineCounter,
  EK_RSA_CERTIFICATE_INDEX,
  EK_RSA_HANDLE,
  extendedPcr,
  extendPcr,
  getProperty,
  getRandom,
  hmac,
  incrementCounter,
  isSignedBy,
  load,
  makeCredential,
  marshalPublic,
  nameOf,
  parseQuote,
  parseSignature,
  pcrDigest,
  policyAuthorize,
  policyDigest,
  policyEndorsement,
  policyOfAuthorization,
  policyOfPcrs,
  policyPcr,
  publicKeyOf,
  quote,
  readCounter,
  readNv,
  readPcrs,
  readPublic,
  resetLockout,
  startSession,
  storageRoot,
  template,
  type Tpm,
  TpmChannelError,
  TpmError,
  type TpmPublic,
  TpmWriter,
  tpmOver,
  tpmProperty,
  type TpmSequence,
  type TpmSession,
  undefineNv,
  unseal,
  type WrappedObject,
} from "./index.ts";
import { permanent } from "./client.ts";
import { commandCode, handle } from "./constants.ts";
import { hasSwtpm, startTestTpm, type TestTpm } from "./testing/swtpm.ts";
import { openTransport } from "./transport.ts";

const PCR = 12;
const COUNTER = 0x01800a01;
const measured = (what: string): Buffer => createHmac("sha256", "measured").update(what).digest();
const after = (what: string): Buffer => extendedPcr(Buffer.alloc(32), measured(what));
const policyAfter = (what: string): Buffer => policyOfPcrs(new Map([[PCR, after(what)]]));

describe.skipIf(!hasSwtpm("lib/tpm2", process.env))("a TPM", () => {
  let machine: TestTpm;
  let tpm: Tpm;
  let tap: Buffer[];

  beforeAll(async () => {
    machine = await startTestTpm();
  });
  afterAll(() => machine.stop());
  beforeEach(async () => {
    tap = [];
    tpm = await machine.open({ tap });
  });
  afterEach(async () => {
    await tpm.close();
    await machine.reboot();
  });

  const reboot = async (): Promise<void> => {
    await tpm.close();
    await machine.reboot();
    tpm = await machine.open({ tap });
  };
  const seal = (policy: Uint8Array, secret: Uint8Array): Promise<WrappedObject> =>
    tpm.use(async (t) => {
      const root = await createPrimary(t, "owner", template.storageRootKey);
      return create(t, root, template.sealedData(policy), secret, await startSession(t, "hmac", root));
    });
  const unsealWith = (
    object: WrappedObject,
    satisfy: (t: TpmSequence, session: Awaited<ReturnType<typeof startSession>>) => Promise<void>,
  ): Promise<Buffer> =>
    tpm.use(async (t) => {
      const root = await createPrimary(t, "owner", template.storageRootKey);
      const session = await startSession(t, "policy", root);
      await satisfy(t, session);
      return unseal(t, await load(t, root, object), session);
    });
  const unsealByPcr = (object: WrappedObject): Promise<Buffer> =>
    unsealWith(object, (t, session) => policyPcr(t, session, [PCR]));
  const refusal = async (work: Promise<unknown>): Promise<TpmError> => {
    const error: unknown = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(TpmError);
    return error as TpmError;
  };

  test("computes policies as we do without it", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const key = template.verificationKey(publicKey);
    const reference = Buffer.from("a reference");
    await tpm.use(async (t) => {
      await extendPcr(t, PCR, measured("v1"));
      expect((await readPcrs(t, [PCR])).get(PCR)).toEqual(after("v1"));
      const root = await createPrimary(t, "owner", template.storageRootKey);
      const session = await startSession(t, "policy", root);
      await policyPcr(t, session, [PCR]);
      const policy = await policyDigest(t, session);
      expect(policy).toEqual(policyAfter("v1"));
      const raw = sign("sha256", authorizationMessage(policy, reference), {
        key: privateKey,
        dsaEncoding: "ieee-p1363",
      });
      const signature = { scheme: "ecdsa", hash: "sha256", r: raw.subarray(0, 32), s: raw.subarray(32) } as const;
      await policyAuthorize(t, session, { key, policy, reference, signature });
      expect(await policyDigest(t, session)).toEqual(policyOfAuthorization(nameOf(key), reference));
    });
  });

  test("asks for the endorsement key's policy as the TCG's EK credential profile has it (annex B.3)", async () => {
    await tpm.use(async (t) => {
      const session = await startSession(t, "policy", await createPrimary(t, "owner", template.storageRootKey));
      await policyEndorsement(t, session);
      expect((await policyDigest(t, session)).toString("hex")).toBe(
        "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa",
      );
    });
  });

  test("unseals after a restart for the code that was measured, and for no other", async () => {
    const secret = randomBytes(32);
    const sealed = await seal(policyAfter("v1"), secret);
    expect((await refusal(unsealByPcr(sealed))).is("policyFail")).toBe(true);
    await tpm.use((t) => extendPcr(t, PCR, measured("v1")));
    expect(await unsealByPcr(sealed)).toEqual(secret);
    await tpm.use((t) => extendPcr(t, PCR, measured("more")));
    expect((await refusal(unsealByPcr(sealed))).is("policyFail")).toBe(true);
    await reboot();
    await tpm.use((t) => extendPcr(t, PCR, measured("v1")));
    expect(await unsealByPcr(sealed)).toEqual(secret);
    await reboot();
    await tpm.use((t) => extendPcr(t, PCR, measured("v2")));
    expect((await refusal(unsealByPcr(sealed))).message).toContain("the policy of this session is not the one");
  });

  test("does not unseal under a session with no policy, or a PCR that changes after it was looked at", async () => {
    const sealed = await seal(policyAfter("v1"), randomBytes(32));
    await tpm.use((t) => extendPcr(t, PCR, measured("v1")));
    await refusal(unsealWith(sealed, () => Promise.resolve()));
    const changed = await refusal(
      unsealWith(sealed, async (t, session) => {
        await policyPcr(t, session, [PCR]);
        await extendPcr(t, 13, measured("anything"));
      }),
    );
    expect(changed.is("pcrChanged")).toBe(true);
  });

  test("lets no secret cross the socket in clear", async () => {
    const secret = randomBytes(32);
    const data = Buffer.concat([Buffer.from("info of forty bytes, none of them secret"), randomBytes(8)]);
    await tpm.use((t) => extendPcr(t, PCR, measured("v1")));
    const sealed = await seal(policyAfter("v1"), secret);
    expect(await unsealByPcr(sealed)).toEqual(secret);
    const made = await tpm.use(async (t) => {
      const root = await createPrimary(t, "owner", template.storageRootKey);
      const wrapped = await create(
        t,
        root,
        template.hmacKey(policyAfter("v1"), "brought-in"),
        secret,
        await startSession(t, "hmac", root),
      );
      const session = await startSession(t, "policy", root);
      await policyPcr(t, session, [PCR]);
      return hmac(t, await load(t, root, wrapped), data, session);
    });
    expect(made).toEqual(createHmac("sha256", secret).update(data).digest());
    const wire = Buffer.concat(tap);
    expect(wire.length).toBeGreaterThan(2000);
    expect([secret, made, data].map((one) => wire.includes(one))).toEqual([false, false, false]);
    // What is no secret is there to be found: the tap sees what crosses.
    expect(wire.includes(Buffer.from(sealed.private))).toBe(true);
  });

  test("whose answer was changed on its way is not believed", async () => {
    const secret = randomBytes(32);
    await tpm.use((t) => extendPcr(t, PCR, measured("v1")));
    const sealed = await seal(policyAfter("v1"), secret);
    await tpm.close();
    const changes: ((answer: Buffer) => Buffer)[] = [
      (answer) => flipped(answer, 16),
      (answer) => flipped(answer, answer.length - 1),
      // No authorizations at all: the answer that somebody gives who has no key.
      () =>
        Buffer.concat([Buffer.from("80010000002c00000000", "hex"), Buffer.from("0020", "hex"), Buffer.alloc(32, 7)]),
    ];
    for (const change of changes) {
      const transport = await openTransport(machine.address);
      tpm = tpmOver({
        close: () => transport.close(),
        transmit: async (command) => {
          const answer = await transport.transmit(command);
          return Buffer.from(command).readUInt32BE(6) === 0x15e ? change(answer) : answer;
        },
      });
      await expect(unsealByPcr(sealed)).rejects.toBeInstanceOf(TpmChannelError);
      await tpm.close();
    }
    tpm = await machine.open();
    expect(await unsealByPcr(sealed)).toEqual(secret);
  });

  test("is asked again when it is busy", async () => {
    await tpm.close();
    const transport = await openTransport(machine.address);
    let [refused, slept] = [0, 0];
    tpm = tpmOver(
      {
        close: () => transport.close(),
        transmit: (command) =>
          ++refused <= 2 ? Promise.resolve(Buffer.from("80010000000a00000922", "hex")) : transport.transmit(command),
      },
      {
        sleep: () => {
          slept++;
          return Promise.resolve();
        },
      },
    );
    expect(await tpm.use((t) => getRandom(t, 8))).toHaveLength(8);
    expect(slept).toBe(2);
  });

  test("signs nothing that a release key did not approve", async () => {
    const secret = randomBytes(32);
    const [release, foreign] = [
      generateKeyPairSync("ec", { namedCurve: "P-256" }),
      generateKeyPairSync("ec", { namedCurve: "P-256" }),
    ];

    const key = template.verificationKey(release.publicKey);
    const reference = Buffer.from("agentkeys");
    const approve = (what: string, by = release): Parameters<typeof policyAuthorize>[2] => {
      const policy = policyAfter(what);
      const raw = sign("sha256", authorizationMessage(policy, reference), {
        key: by.privateKey,
        dsaEncoding: "ieee-p1363",
      });
      return {
        key,
        policy,
        reference,
        signature: { scheme: "ecdsa", hash: "sha256", r: raw.subarray(0, 32), s: raw.subarray(32) },
      };
    };
    const open = (approval: Parameters<typeof policyAuthorize>[2]): Promise<Buffer> =>
      unsealWith(sealed, async (t, session) => {
        await policyPcr(t, session, [PCR]);
        await policyAuthorize(t, session, approval);
      });
    const sealed = await seal(policyOfAuthorization(nameOf(key), reference), secret);
    await tpm.use((t) => extendPcr(t, PCR, measured("v2")));
    expect(await open(approve("v2"))).toEqual(secret);
    expect((await refusal(open(approve("v1")))).is("value")).toBe(true);
    expect((await refusal(open(approve("v2", foreign)))).is("signature")).toBe(true);
  });

  test("quotes what tpm2-tools accept too, and what we verify", async () => {
    const extra = randomBytes(32);
    const pcrs = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, PCR];
    const made = await tpm.use(async (t) => {
      const key = await createPrimary(t, "endorsement", template.attestationKey("test"));
      return { key, ...(await quote(t, key, extra, pcrs)), values: await readPcrs(t, pcrs) };
    });
    expect(isSignedBy(publicKeyOf(made.key.public), made.attest, parseSignature(made.signature))).toBe(true);
    const parsed = parseQuote(made.attest);
    expect(parsed.extraData).toEqual(extra);
    expect(parsed.pcrs).toEqual([{ hash: "sha256", pcrs }]);
    expect(parsed.pcrDigest).toEqual(pcrDigest(made.values));

    const folder = mkdtempSync(join(tmpdir(), "agentkeys-quote-"));
    try {
      const file = (name: string, contents: Uint8Array | string): string => {
        writeFileSync(join(folder, name), contents);
        return join(folder, name);
      };
      const checked = spawnSync("tpm2_checkquote", [
        ...["-u", file("ak.pem", publicKeyOf(made.key.public).export({ format: "pem", type: "spki" }))],
        ...["-m", file("quote.msg", made.attest)],
        ...["-s", file("quote.sig", made.signature)],
        ...["-q", extra.toString("hex")],
      ]);
      // Where tpm2-tools are not installed there is no second opinion; CI installs them.
      if (process.env["CI"] === "true" || checked.error === undefined) expect(checked.status).toBe(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("has the same attestation key at every boot, and another for another label", async () => {
    const nameOfKey = (label: string): Promise<string> =>
      tpm.use(async (t) =>
        Buffer.from((await createPrimary(t, "endorsement", template.attestationKey(label))).name).toString("hex"),
      );
    const before = await nameOfKey("a");
    await reboot();
    expect(await nameOfKey("a")).toBe(before);
    expect(await nameOfKey("b")).not.toBe(before);
  });

  test("gives out a credential only to the key that it was made for, beside the endorsement key", async () => {
    const secret = randomBytes(32);
    const activate = (challengedName?: Uint8Array): Promise<Buffer> =>
      tpm.use(async (t) => {
        const endorsement = await readPublic(t, EK_RSA_HANDLE);
        const key = await createPrimary(t, "endorsement", template.attestationKey("test"));
        const challenge = makeCredential(endorsement.public, challengedName ?? key.name, secret);
        const session = await startSession(t, "policy", endorsement);
        await policyEndorsement(t, session);
        return activateCredential(t, key, endorsement, challenge, session);
      });
    expect(await activate()).toEqual(secret);
    expect(Buffer.concat(tap).includes(secret)).toBe(false);
    const other = await tpm.use((t) => createPrimary(t, "endorsement", template.attestationKey("other")));
    expect((await refusal(activate(other.name))).is("integrity")).toBe(true);
  });

  test("keeps its endorsement certificate where the profile says, for the endorsement key that it holds", async () => {
    const { certificate, key } = await tpm.use(async (t) => ({
      certificate: new X509Certificate((await readNv(t, EK_RSA_CERTIFICATE_INDEX)) ?? Buffer.alloc(0)),
      key: publicKeyOf((await readPublic(t, EK_RSA_HANDLE)).public),
    }));
    expect(certificate.publicKey.equals(key)).toBe(true);
    expect(certificate.verify(new X509Certificate(machine.authority.issuer).publicKey)).toBe(true);
  });

  test("counts upwards only, also for who deletes the counter and makes it anew", async () => {
    const inSession = <T>(use: (t: TpmSequence, session: TpmSession) => Promise<T>): Promise<T> =>
      tpm.use(async (t) => use(t, await startSession(t, "hmac", await storageRoot(t))));
    const read = (): Promise<bigint | undefined> => inSession((t, session) => readCounter(t, COUNTER, session));
    const increment = (): Promise<void> => inSession((t, session) => incrementCounter(t, COUNTER, session));
    expect(await read()).toBeUndefined();
    await tpm.use((t) => defineCounter(t, COUNTER));
    expect(await read()).toBeUndefined();
    await increment();
    const first = (await read()) ?? 0n;
    await increment();
    expect(await read()).toBe(first + 1n);
    await reboot();
    expect(await read()).toBe(first + 1n);
    expect((await refusal(tpm.use((t) => defineCounter(t, COUNTER)))).is("nvDefined")).toBe(true);
    await tpm.use((t) => undefineNv(t, COUNTER));
    await tpm.use((t) => defineCounter(t, COUNTER));
    await increment();
    expect(await read()).toBeGreaterThan(first + 1n);
    await tpm.use((t) => undefineNv(t, COUNTER));
  });

  test("gives an older value of a counter to nobody, whatever sits in between", async () => {
    await tpm.use((t) => defineCounter(t, COUNTER));
    const value = (over: Tpm): Promise<bigint | undefined> =>
      over.use(async (t) => readCounter(t, COUNTER, await startSession(t, "hmac", await storageRoot(t))));
    await tpm.use(async (t) => incrementCounter(t, COUNTER, await startSession(t, "hmac", await storageRoot(t))));
    const before = Buffer.alloc(8);
    before.writeBigUInt64BE((await value(tpm)) ?? 0n);
    await tpm.use(async (t) => incrementCounter(t, COUNTER, await startSession(t, "hmac", await storageRoot(t))));
    await tpm.close();
    const transport = await openTransport(machine.address);
    let lies = 0;
    tpm = tpmOver({
      close: () => transport.close(),
      transmit: async (command) => {
        const answer = await transport.transmit(command);
        if (Buffer.from(command).readUInt32BE(6) !== commandCode.nvRead) return answer;
        lies++;
        // After the header, the parameters' length and the value's.
        before.copy(answer, 10 + 4 + 2);
        return answer;
      },
    });
    await expect(value(tpm)).rejects.toBeInstanceOf(TpmChannelError);
    expect(lies).toBe(1);
    await tpm.use((t) => undefineNv(t, COUNTER));
  });

  test("that shows another storage root key than before is not one TPM", async () => {
    await tpm.use(storageRoot);
    await tpm.use(async (t) => {
      const other = {
        ...t,
        execute: (command: Parameters<TpmSequence["execute"]>[0]) => {
          const isPrimary = command.code === commandCode.createPrimary;
          return isPrimary ? createPrimaryOf(t, template.attestationKey("other")) : t.execute(command);
        },
      };
      await expect(storageRoot(other)).rejects.toThrow("another storage root key than before");
    });
  });

  test("holds nothing of a sequence that failed, however often", async () => {
    const failing = (): Promise<unknown> =>
      tpm.use(async (t) => {
        await createPrimary(t, "owner", template.storageRootKey);
        await startSession(t, "policy", await createPrimary(t, "owner", template.storageRootKey));
        throw new Error("for the test");
      });
    // Three objects fill a TPM without a resource manager: the second round would fail.
    for (let i = 0; i < 5; i++) await expect(failing()).rejects.toThrow("for the test");
  });

  test("runs sequences one after the other", async () => {
    const order: string[] = [];
    const run = (name: string): Promise<void> =>
      tpm.use(async (t) => {
        order.push(`${name} begins`);
        await createPrimary(t, "owner", template.storageRootKey);
        await createPrimary(t, "owner", template.storageRootKey);
        order.push(`${name} ends`);
      });
    await Promise.all([run("a"), run("b"), run("c")]);
    expect(order).toEqual(["a", "b", "c"].flatMap((name) => [`${name} begins`, `${name} ends`]));
  });

  test("forgets failed authorizations when told to, and says how many there were", async () => {
    await tpm.use(resetLockout);
    expect(await tpm.use((t) => getProperty(t, tpmProperty.lockoutCounter))).toBe(0);
    expect(await tpm.use((t) => getProperty(t, 0xfff))).toBeUndefined();
  });
});

/** The answer to TPM2_CreatePrimary with another template. */
function createPrimaryOf(tpm: TpmSequence, area: TpmPublic): ReturnType<TpmSequence["execute"]> {
  const nothing = new Uint8Array();
  return tpm.execute({
    code: commandCode.createPrimary,
    entities: [permanent(handle.owner)],
    authorizations: ["empty-password"],
    parameters: new TpmWriter()
      .sized(new TpmWriter().sized(nothing).sized(nothing).done())
      .sized(marshalPublic(area))
      .sized(nothing)
      .u32(0)
      .done(),
    makesHandle: true,
  });
}

function flipped(answer: Buffer, at: number): Buffer {
  const changed = Buffer.from(answer);
  changed[at] = (changed[at] ?? 0) ^ 1;
  return changed;
}
