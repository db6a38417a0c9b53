import { exportJWK, generateKeyPair } from "jose";
import { describe, expect, test } from "vitest";

import { Secret } from "@agentkeys/lib/secret";

import { createKeySealer } from "./sealer.ts";

const encryptionKey = (byte: number) => new Secret<Uint8Array>(new Uint8Array(32).fill(byte));
const privateKey = async () => exportJWK((await generateKeyPair("ES256", { extractable: true })).privateKey);

describe("a signing key under an encryption key", () => {
  test("is opened by the same key only, and the setting is named otherwise", async () => {
    const key = await privateKey();
    const sealed = await createKeySealer(encryptionKey(1)).seal(key);
    expect(sealed).not.toContain(key.d);
    expect(await createKeySealer(encryptionKey(1)).open(sealed)).toEqual(key);
    await expect(createKeySealer(encryptionKey(2)).open(sealed)).rejects.toThrow(
      "AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY is not",
    );
    await expect(createKeySealer(undefined).open(sealed)).rejects.toThrow(
      "AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY must be set",
    );
  });

  test("kept in the clear before is still opened, and known to be due for sealing", async () => {
    const key = await privateKey();
    const clear = await createKeySealer(undefined).seal(key);
    const sealer = createKeySealer(encryptionKey(1));
    expect(await sealer.open(clear)).toEqual(key);
    expect(sealer.isCurrent(clear)).toBe(false);
    expect(sealer.isCurrent(await sealer.seal(key))).toBe(true);
  });
});
