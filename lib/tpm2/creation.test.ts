import { describe, expect, test } from "vitest";

import {
  certifyCreation,
  create,
  type Creation,
  extendPcr,
  load,
  parseCreationData,
  pcrDigest,
  readPcrs,
  startSession,
  storageRoot,
  template,
  TpmFormatError,
  type TpmSequence,
  type WrappedObject,
} from "./index.ts";
import { refusal, tpmForEachTest } from "./testing/each-test.ts";
import { hasSwtpm } from "./testing/swtpm.ts";

const PCRS = [7, 12];

describe.skipIf(!hasSwtpm("lib/tpm2, creation", process.env))("what a TPM says of the making of an object", () => {
  const bench = tpmForEachTest();
  const made = async (t: TpmSequence): Promise<WrappedObject & { creation: Creation }> => {
    const root = await storageRoot(t);
    const area = template.sealedData(Buffer.alloc(32, 1));
    return create(t, root, area, Buffer.from("secret"), await startSession(t, "hmac", root), PCRS);
  };
  const certified = (object: WrappedObject, creation: Creation): Promise<void> =>
    bench.tpm.use(async (t) => certifyCreation(t, await load(t, await storageRoot(t), object), creation));

  test("names the state that the machine was in, and is known again after that changed, and after a boot", async () => {
    const { object, values, root } = await bench.tpm.use(async (t) => {
      await extendPcr(t, 12, Buffer.alloc(32, 2));
      return { object: await made(t), values: await readPcrs(t, PCRS), root: (await storageRoot(t)).name };
    });
    const facts = parseCreationData(object.creation.data);
    expect(facts.pcrs).toEqual([{ hash: "sha256", pcrs: PCRS }]);
    expect(facts.pcrDigest).toEqual(pcrDigest(values));
    expect(facts.parentName).toEqual(root);
    await bench.tpm.use((t) => extendPcr(t, 12, Buffer.alloc(32, 3)));
    await certified(object, object.creation);
    await bench.reboot();
    await certified(object, object.creation);
  });

  test("is not believed of another object, with another state, or with a ticket that was changed", async () => {
    const [one, other] = await bench.tpm.use(async (t) => {
      const first = await made(t);
      await extendPcr(t, 12, Buffer.alloc(32, 2));
      return [first, await made(t)] as const;
    });
    const { data, ticket } = one.creation;
    const changed = Buffer.from(ticket).fill(1, 0, 1);
    for (const creation of [other.creation, { data: other.creation.data, ticket }, { data, ticket: changed }]) {
      expect((await refusal(certified(one, creation))).is("ticket")).toBe(true);
    }
  });

  test("is whole, or none", async () => {
    const { creation } = await bench.tpm.use(made);
    for (const data of [
      creation.data.subarray(0, -1),
      Buffer.concat([creation.data, Buffer.alloc(1)]),
      Buffer.alloc(0),
    ])
      expect(() => parseCreationData(data)).toThrow(TpmFormatError);
  });
});
