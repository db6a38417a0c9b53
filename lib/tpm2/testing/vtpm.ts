import { type TpmSequence, permanent } from "../client.ts";
import { createPrimary } from "../commands/objects.ts";
import { commandCode, handle, nvAttribute, objectAttribute } from "../constants.ts";
import { hashNumber } from "../hash.ts";
import { TpmWriter } from "../marshal.ts";
import type { RsaPublic, TpmPublic } from "../public-area.ts";

const CHUNK = 512;

/** What the maker of a virtual machine does with its TPM, and no worker: puts data into an NV index that its owner may read. */
export async function writeNv(tpm: TpmSequence, index: number, data: Uint8Array): Promise<void> {
  const attributes = nvAttribute.ownerRead | nvAttribute.ownerWrite | nvAttribute.noDictionaryAttackProtection;
  const area = new TpmWriter().u32(index).u16(hashNumber("sha256")).u32(attributes).u16(0).u16(data.length).done();
  await tpm.execute({
    code: commandCode.nvDefineSpace,
    entities: [permanent(handle.owner)],
    authorizations: ["empty-password"],
    parameters: new TpmWriter().u16(0).sized(area).done(),
  });
  for (let at = 0; at < data.length; at += CHUNK) {
    await tpm.execute({
      code: commandCode.nvWrite,
      entities: [permanent(handle.owner), permanent(index)],
      authorizations: ["empty-password"],
      parameters: new TpmWriter()
        .sized(data.subarray(at, at + CHUNK))
        .u16(at)
        .done(),
    });
  }
}

/** An RSA attestation key of the paravisor's kind, kept at a handle. */
export async function keepAttestationKey(tpm: TpmSequence, at: number): Promise<TpmPublic> {
  const template: RsaPublic = {
    type: "rsa",
    nameHash: "sha256",
    attributes:
      objectAttribute.fixedTpm |
      objectAttribute.fixedParent |
      objectAttribute.sensitiveDataOrigin |
      objectAttribute.userWithAuth |
      objectAttribute.restricted |
      objectAttribute.sign,
    authPolicy: new Uint8Array(),
    scheme: { name: "rsassa", hash: "sha256" },
    bits: 2048,
    exponent: 0,
    modulus: new Uint8Array(),
  };
  const key = await createPrimary(tpm, "owner", template);
  await tpm.execute({
    code: commandCode.evictControl,
    entities: [permanent(handle.owner), key],
    authorizations: ["empty-password"],
    parameters: new TpmWriter().u32(at).done(),
  });
  return key.public;
}
