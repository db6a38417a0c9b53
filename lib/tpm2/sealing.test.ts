import { createHmac, generateKeyPairSync, randomBytes, sign } from "node:crypto";

import { describe, expect, test } from "vitest";

import {
  authorizationMessage,
  create,
  createPrimary,
  extendedPcr,
  extendPcr,
  hmac,
  load,
  nameOf,
  policyAuthorize,
  policyDigest,
  policyOfAuthorization,
  policyOfPcrs,
  policyPcr,
  readPcrs,
  startSession,
  template,
  TpmChannelError,
  tpmOver,
  type TpmSequence,
  unseal,
  type WrappedObject,
} from "./index.ts";
import { refusal, tpmForEachTest } from "./testing/each-test.ts";
import { hasSwtpm } from "./testing/swtpm.ts";
import { openTransport } from "./transport.ts";

const PCR = 12;
const measured = (what: string): Buffer => createHmac("sha256", "measured").update(what).digest();
const after = (what: string): Buffer => extendedPcr(Buffer.alloc(32), measured(what));
const policyAfter = (what: string): Buffer => policyOfPcrs(new Map([[PCR, after(what)]]));

describe.skipIf(!hasSwtpm("lib/tpm2, sealing", process.env))("a TPM that seals", () => {
  const bench = tpmForEachTest();
  const seal = (policy: Uint8Array, secret: Uint8Array): Promise<WrappedObject> =>
    bench.tpm.use(async (t) => {
      const root = await createPrimary(t, "owner", template.storageRootKey);
      return create(t, root, template.sealedData(policy), secret, await startSession(t, "hmac", root));
    });
  const unsealWith = (
    object: WrappedObject,
    satisfy: (t: TpmSequence, session: Awaited<ReturnType<typeof startSession>>) => Promise<void>,
  ): Promise<Buffer> =>
    bench.tpm.use(async (t) => {
      const root = await createPrimary(t, "owner", template.storageRootKey);
      const session = await startSession(t, "policy", root);
      await satisfy(t, session);
      return unseal(t, await load(t, root, object), session);
    });
  const unsealByPcr = (object: WrappedObject): Promise<Buffer> =>
    unsealWith(object, (t, session) => policyPcr(t, session, [PCR]));

  test("computes policies as we do without it", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const key = template.verificationKey(publicKey);
    const reference = Buffer.from("a reference");
    await bench.tpm.use(async (t) => {
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

  test("unseals after a restart for the code that was measured, and for no other", async () => {
    const secret = randomBytes(32);
    const sealed = await seal(policyAfter("v1"), secret);
    expect((await refusal(unsealByPcr(sealed))).is("policyFail")).toBe(true);
    await bench.tpm.use((t) => extendPcr(t, PCR, measured("v1")));
    expect(await unsealByPcr(sealed)).toEqual(secret);
    await bench.tpm.use((t) => extendPcr(t, PCR, measured("more")));
    expect((await refusal(unsealByPcr(sealed))).is("policyFail")).toBe(true);
    await bench.reboot();
    await bench.tpm.use((t) => extendPcr(t, PCR, measured("v1")));
    expect(await unsealByPcr(sealed)).toEqual(secret);
    await bench.reboot();
    await bench.tpm.use((t) => extendPcr(t, PCR, measured("v2")));
    expect((await refusal(unsealByPcr(sealed))).message).toContain("the policy of this session is not the one");
  });

  test("does not unseal under a session with no policy, or a PCR that changes after it was looked at", async () => {
    const sealed = await seal(policyAfter("v1"), randomBytes(32));
    await bench.tpm.use((t) => extendPcr(t, PCR, measured("v1")));
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
    await bench.tpm.use((t) => extendPcr(t, PCR, measured("v1")));
    const sealed = await seal(policyAfter("v1"), secret);
    expect(await unsealByPcr(sealed)).toEqual(secret);
    const made = await bench.tpm.use(async (t) => {
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
    const wire = Buffer.concat(bench.tap);
    expect(wire.length).toBeGreaterThan(2000);
    expect([secret, made, data].map((one) => wire.includes(one))).toEqual([false, false, false]);
    // What is no secret is there to be found: the tap sees what crosses.
    expect(wire.includes(Buffer.from(sealed.private))).toBe(true);
  });

  test("whose answer was changed on its way is not believed", async () => {
    const secret = randomBytes(32);
    await bench.tpm.use((t) => extendPcr(t, PCR, measured("v1")));
    const sealed = await seal(policyAfter("v1"), secret);
    await bench.tpm.close();
    const changes: ((answer: Buffer) => Buffer)[] = [
      (answer) => flipped(answer, 16),
      (answer) => flipped(answer, answer.length - 1),
      // No authorizations at all: the answer that somebody gives who has no key.
      () =>
        Buffer.concat([Buffer.from("80010000002c00000000", "hex"), Buffer.from("0020", "hex"), Buffer.alloc(32, 7)]),
    ];
    for (const change of changes) {
      const transport = await openTransport(bench.machine.address);
      bench.tpm = tpmOver({
        close: () => transport.close(),
        transmit: async (command) => {
          const answer = await transport.transmit(command);
          return Buffer.from(command).readUInt32BE(6) === 0x15e ? change(answer) : answer;
        },
      });
      await expect(unsealByPcr(sealed)).rejects.toBeInstanceOf(TpmChannelError);
      await bench.tpm.close();
    }
    bench.tpm = await bench.machine.open();
    expect(await unsealByPcr(sealed)).toEqual(secret);
  });

  test("opens nothing that a release key did not approve", async () => {
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
    await bench.tpm.use((t) => extendPcr(t, PCR, measured("v2")));
    expect(await open(approve("v2"))).toEqual(secret);
    expect((await refusal(open(approve("v1")))).is("value")).toBe(true);
    expect((await refusal(open(approve("v2", foreign)))).is("signature")).toBe(true);
  });
});

function flipped(answer: Buffer, at: number): Buffer {
  const changed = Buffer.from(answer);
  changed[at] = (changed[at] ?? 0) ^ 1;
  return changed;
}
