import { algorithm, commandCode } from "../constants.ts";
import { permanent, type TpmSequence } from "../client.ts";
import { TpmWriter } from "../marshal.ts";
import { pcrSelection, readPcrSelection } from "../pcr.ts";

const MAX_VALUES = 8;

/** TPM2_PCR_Read of the SHA-256 bank, as often as it takes. @throws TpmFormatError when the TPM keeps no such bank. */
export async function readPcrs(tpm: TpmSequence, pcrs: readonly number[]): Promise<Map<number, Buffer>> {
  const values = new Map<number, Buffer>();
  for (let missing = [...pcrs]; missing.length > 0; missing = pcrs.filter((pcr) => !values.has(pcr))) {
    const { parameters } = await tpm.execute({ code: commandCode.pcrRead, parameters: pcrSelection(missing) });
    parameters.u32();
    const read = readPcrSelection(parameters).flatMap((selection) => selection.pcrs);
    const count = parameters.u32();
    if (count === 0) throw parameters.wrong("holds no PCR values: this TPM keeps no SHA-256 bank");
    if (count > MAX_VALUES || count !== read.length) throw parameters.wrong("holds another number of PCR values");
    if (!read.some((pcr) => missing.includes(pcr))) throw parameters.wrong("holds the values of other PCRs");
    for (const pcr of read) values.set(pcr, parameters.sized(32));
    parameters.end();
  }
  return values;
}

/** TPM2_PCR_Extend of the SHA-256 bank: measures a digest into a PCR. */
export async function extendPcr(tpm: TpmSequence, pcr: number, digest: Uint8Array): Promise<void> {
  await tpm.execute({
    code: commandCode.pcrExtend,
    entities: [permanent(pcr)],
    authorizations: ["empty-password"],
    parameters: new TpmWriter().u32(1).u16(algorithm.sha256).bytes(digest).done(),
  });
}
