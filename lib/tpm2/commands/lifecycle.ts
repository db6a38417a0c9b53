import { commandCode, handle } from "../constants.ts";
import { permanent, type TpmSequence } from "../client.ts";
import { TpmError } from "../errors.ts";
import { TpmWriter } from "../marshal.ts";
import type { TpmSession } from "../session.ts";

const CLEAR = 0x0000;
const MAX_RANDOM = 48;

/** TPM2_Startup(CLEAR). A TPM that was started already, by firmware or a kernel, is left as it is. */
export async function startup(tpm: TpmSequence): Promise<void> {
  try {
    await tpm.execute({ code: commandCode.startup, parameters: new TpmWriter().u16(CLEAR).done() });
  } catch (error) {
    if (!(error instanceof TpmError && error.is("initialize"))) throw error;
  }
}

/**
 * TPM2_Shutdown(CLEAR), for a TPM that ends with us: one that loses power without it counts that as a failed authorization once
 * protected objects were used. A kernel does this for its device by itself.
 */
export async function shutdown(tpm: TpmSequence): Promise<void> {
  await tpm.execute({ code: commandCode.shutdown, parameters: new TpmWriter().u16(CLEAR).done() });
}

/** TPM2_GetRandom, as often as it takes; encrypted on its way where there is a session. */
export async function getRandom(tpm: TpmSequence, length: number, session?: TpmSession): Promise<Buffer> {
  const random = Buffer.alloc(length);
  for (let got = 0; got < length;) {
    const parameters = new TpmWriter().u16(Math.min(length - got, MAX_RANDOM)).done();
    const answer = await tpm.execute({
      code: commandCode.getRandom,
      parameters,
      ...(session && { authorizations: [{ session, encryptAnswer: true }] }),
    });
    const part = answer.parameters.sized(MAX_RANDOM);
    answer.parameters.end();
    answer.parameters.wipe();
    if (part.length === 0 || part.length > length - got)
      throw answer.parameters.wrong("holds another number of random bytes");
    random.set(part, got);
    part.fill(0);
    got += part.length;
  }
  return random;
}

/** TPM2_DictionaryAttackLockReset with an empty lockout password: a TPM forgets its failed authorizations. */
export async function resetLockout(tpm: TpmSequence): Promise<void> {
  await tpm.execute({
    code: commandCode.dictionaryAttackLockReset,
    entities: [permanent(handle.lockout)],
    authorizations: ["empty-password"],
  });
}

/** TPM_PT: properties that TPM2_GetCapability gives (Part 2, section 6.13). */
export const tpmProperty = { manufacturer: 0x105, firmwareVersion1: 0x10b, lockoutCounter: 0x20e } as const;

const CAPABILITY_TPM_PROPERTIES = 6;

/** TPM2_GetCapability for one property; `undefined` where this TPM has no such property. */
export async function getProperty(tpm: TpmSequence, property: number): Promise<number | undefined> {
  const parameters = new TpmWriter().u32(CAPABILITY_TPM_PROPERTIES).u32(property).u32(1).done();
  const { parameters: answer } = await tpm.execute({ code: commandCode.getCapability, parameters });
  answer.yesNo();
  if (answer.u32() !== CAPABILITY_TPM_PROPERTIES) throw answer.wrong("is about another capability");
  const count = answer.u32();
  if (count === 0) return undefined;
  const [found, value] = [answer.u32(), answer.u32()];
  answer.end();
  return found === property ? value : undefined;
}
