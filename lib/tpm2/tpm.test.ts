import { describe, expect, test } from "vitest";

import {
  createPrimary,
  defineCounter,
  getProperty,
  getRandom,
  incrementCounter,
  marshalPublic,
  readCounter,
  resetLockout,
  startSession,
  storageRoot,
  template,
  type Tpm,
  TpmChannelError,
  type TpmPublic,
  TpmWriter,
  tpmOver,
  tpmProperty,
  type TpmSequence,
  type TpmSession,
  undefineNv,
} from "./index.ts";
import { permanent } from "./client.ts";
import { commandCode, handle, nvAttribute } from "./constants.ts";
import { hashNumber } from "./hash.ts";
import { refusal, tpmForEachTest } from "./testing/each-test.ts";
import { hasSwtpm } from "./testing/swtpm.ts";
import { openTransport } from "./transport.ts";

const COUNTER = 0x01800a01;

describe.skipIf(!hasSwtpm("lib/tpm2", process.env))("a TPM", () => {
  const bench = tpmForEachTest();

  test.each([
    ["is busy", "80010000000a00000922"],
    ["writes its NV memory too often", "80010000000a00000920"],
  ])("is asked again when it %s", async (_why, answer) => {
    await bench.tpm.close();
    const transport = await openTransport(bench.machine.address);
    let [refused, slept] = [0, 0];
    bench.tpm = tpmOver(
      {
        close: () => transport.close(),
        transmit: (command) =>
          ++refused <= 2 ? Promise.resolve(Buffer.from(answer, "hex")) : transport.transmit(command),
      },
      {
        sleep: () => {
          slept++;
          return Promise.resolve();
        },
      },
    );
    expect(await bench.tpm.use((t) => getRandom(t, 8))).toHaveLength(8);
    expect(slept).toBe(2);
  });

  test("counts upwards only, also for who deletes the counter and makes it anew", async () => {
    const inSession = <T>(use: (t: TpmSequence, session: TpmSession) => Promise<T>): Promise<T> =>
      bench.tpm.use(async (t) => use(t, await startSession(t, "hmac", await storageRoot(t))));
    const read = (): Promise<bigint | undefined> => inSession((t, session) => readCounter(t, COUNTER, session));
    const increment = (): Promise<void> => inSession((t, session) => incrementCounter(t, COUNTER, session));
    expect(await read()).toBeUndefined();
    await bench.tpm.use((t) => defineCounter(t, COUNTER));
    expect(await read()).toBeUndefined();
    await increment();
    const first = (await read()) ?? 0n;
    await increment();
    expect(await read()).toBe(first + 1n);
    await bench.reboot();
    expect(await read()).toBe(first + 1n);
    expect((await refusal(bench.tpm.use((t) => defineCounter(t, COUNTER)))).is("nvDefined")).toBe(true);
    await bench.tpm.use((t) => undefineNv(t, COUNTER));
    await bench.tpm.use((t) => defineCounter(t, COUNTER));
    await increment();
    expect(await read()).toBeGreaterThan(first + 1n);
    await bench.tpm.use((t) => undefineNv(t, COUNTER));
  });

  test.each([
    ["ordinary data", 0],
    ["a PIN that passes", 9],
  ])("takes %s for no counter, whatever value was written there", async (_what, kind) => {
    const open = nvAttribute.ownerWrite | nvAttribute.ownerRead | nvAttribute.authRead;
    const area = new TpmWriter()
      .u32(COUNTER)
      .u16(hashNumber("sha256"))
      .u32(open | nvAttribute.noDictionaryAttackProtection | (kind << 4))
      .u16(0)
      .u16(8)
      .done();
    await bench.tpm.use(async (t) => {
      await t.execute({
        code: commandCode.nvDefineSpace,
        entities: [permanent(handle.owner)],
        authorizations: ["empty-password"],
        parameters: new TpmWriter().u16(0).sized(area).done(),
      });
      await t.execute({
        code: commandCode.nvWrite,
        entities: [permanent(handle.owner), permanent(COUNTER)],
        authorizations: ["empty-password"],
        parameters: new TpmWriter().sized(Buffer.from("000000000000ffff", "hex")).u16(0).done(),
      });
    });
    const read = bench.tpm.use(async (t) =>
      readCounter(t, COUNTER, await startSession(t, "hmac", await storageRoot(t))),
    );
    await expect(read).rejects.toThrow("is no counter");
    await bench.tpm.use((t) => undefineNv(t, COUNTER));
  });

  test("gives an older value of a counter to nobody, whatever sits in between", async () => {
    await bench.tpm.use((t) => defineCounter(t, COUNTER));
    const value = (over: Tpm): Promise<bigint | undefined> =>
      over.use(async (t) => readCounter(t, COUNTER, await startSession(t, "hmac", await storageRoot(t))));
    await bench.tpm.use(async (t) => incrementCounter(t, COUNTER, await startSession(t, "hmac", await storageRoot(t))));
    const before = Buffer.alloc(8);
    before.writeBigUInt64BE((await value(bench.tpm)) ?? 0n);
    await bench.tpm.use(async (t) => incrementCounter(t, COUNTER, await startSession(t, "hmac", await storageRoot(t))));
    await bench.tpm.close();
    const transport = await openTransport(bench.machine.address);
    let lies = 0;
    bench.tpm = tpmOver({
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
    await expect(value(bench.tpm)).rejects.toBeInstanceOf(TpmChannelError);
    expect(lies).toBe(1);
    await bench.tpm.use((t) => undefineNv(t, COUNTER));
  });

  test("that shows another storage root key than before is not one TPM", async () => {
    await bench.tpm.use(storageRoot);
    await bench.tpm.use(async (t) => {
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
      bench.tpm.use(async (t) => {
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
      bench.tpm.use(async (t) => {
        order.push(`${name} begins`);
        await createPrimary(t, "owner", template.storageRootKey);
        await createPrimary(t, "owner", template.storageRootKey);
        order.push(`${name} ends`);
      });
    await Promise.all([run("a"), run("b"), run("c")]);
    expect(order).toEqual(["a", "b", "c"].flatMap((name) => [`${name} begins`, `${name} ends`]));
  });

  test("forgets failed authorizations when told to, and says how many there were", async () => {
    await bench.tpm.use(resetLockout);
    expect(await bench.tpm.use((t) => getProperty(t, tpmProperty.lockoutCounter))).toBe(0);
    expect(await bench.tpm.use((t) => getProperty(t, 0xfff))).toBeUndefined();
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
