import { describe, expect, test } from "vitest";

import { permanent, type TpmEntity } from "./client.ts";
import { commandCode, handle, nvAttribute } from "./constants.ts";
import { digest, type HashName, hashNumber } from "./hash.ts";
import { endorsementKey, startSession, TpmWriter, undefineNv } from "./index.ts";
import type { SessionUse } from "./session.ts";
import { refusal, tpmForEachTest } from "./testing/each-test.ts";
import { hasSwtpm } from "./testing/swtpm.ts";

const INDEX = 0x01800a19;

describe.skipIf(!hasSwtpm("lib/tpm2, authorization values", process.env))("what has an authorization value", () => {
  const bench = tpmForEachTest();

  test.each<[HashName, number]>([
    ["sha256", 32],
    ["sha512", 64],
  ])("is used in a session by %s whose HMAC has it as well, and by no other", async (hash, length) => {
    const authValue = Buffer.alloc(length, 0xa5);
    const areaOf = (attributes: number): Buffer =>
      new TpmWriter().u32(INDEX).u16(hashNumber(hash)).u32(attributes).sized(Buffer.alloc(0)).u16(64).done();
    const attributes = nvAttribute.authRead | nvAttribute.authWrite | nvAttribute.noDictionaryAttackProtection;
    const named = (area: Buffer): TpmEntity => ({
      handle: INDEX,
      name: new TpmWriter().u16(hashNumber(hash)).bytes(digest(hash, area)).done(),
    });
    const [fresh, written] = [named(areaOf(attributes)), named(areaOf(attributes | nvAttribute.written))];
    await bench.tpm.use(async (t) => {
      const session = await startSession(t, "hmac", await endorsementKey(t), hash);
      await t.execute({
        code: commandCode.nvDefineSpace,
        entities: [permanent(handle.owner)],
        authorizations: [{ session, encryptCommand: true }],
        parameters: new TpmWriter().sized(authValue).sized(areaOf(attributes)).done(),
      });
      const data = Buffer.alloc(64, 7);
      await t.execute({
        code: commandCode.nvWrite,
        entities: [fresh, fresh],
        authorizations: [{ session, authValue, encryptCommand: true }],
        parameters: new TpmWriter().sized(data).u16(0).done(),
      });
      const read = (use: SessionUse) =>
        t.execute({
          code: commandCode.nvRead,
          entities: [written, written],
          authorizations: [{ ...use, encryptAnswer: true }],
          parameters: new TpmWriter().u16(64).u16(0).done(),
        });
      const { parameters } = await read({ session, authValue });
      expect(parameters.sized(64)).toEqual(data);
      expect((await refusal(read({ session }))).message).toContain("the authorization failed");
      await undefineNv(t, INDEX);
    });
    const crossed = Buffer.concat(bench.tap);
    for (const secret of [authValue, Buffer.alloc(64, 7)]) expect(crossed.includes(secret)).toBe(false);
  });
});
