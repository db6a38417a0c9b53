import { structureTag, TPM_GENERATED_VALUE } from "./constants.ts";
import { MAX_DIGEST } from "./hash.ts";
import { TpmReader } from "./marshal.ts";
import { type PcrSelection, readPcrSelection } from "./pcr.ts";

/** A TPMS_ATTEST of type quote (Part 2, section 10.12): what a TPM says of its PCRs, to be believed for the signature over it. */
export interface Quote {
  /** The name of the signing key and of its parents, hashed. */
  qualifiedSigner: Buffer;
  /** What the caller had it include. */
  extraData: Buffer;
  /** Milliseconds since the TPM was manufactured or cleared, and how often it was restarted. */
  clock: { milliseconds: bigint; resetCount: number; restartCount: number; safe: boolean };
  /** Obfuscated where the key is not in the endorsement hierarchy. */
  firmwareVersion: bigint;
  pcrs: readonly PcrSelection[];
  pcrDigest: Buffer;
}

/** A name: two bytes of its hash's number and a digest. */
const MAX_NAME = 2 + MAX_DIGEST;
/** TPM2B_DATA holds as much as a TPMT_HA. */
const MAX_EXTRA_DATA = 2 + MAX_DIGEST;

/** @throws TpmFormatError also for what no TPM made, and for an attestation of something else than PCRs. */
export function parseQuote(bytes: Uint8Array): Quote {
  return TpmReader.whole(bytes, "the quote", (reader) => {
    if (reader.u32() !== TPM_GENERATED_VALUE) throw reader.wrong("does not begin as what a TPM makes");
    if (reader.u16() !== structureTag.attestQuote) throw reader.wrong("is an attestation of something else than PCRs");
    return {
      qualifiedSigner: reader.sized(MAX_NAME),
      extraData: reader.sized(MAX_EXTRA_DATA),
      clock: {
        milliseconds: reader.u64(),
        resetCount: reader.u32(),
        restartCount: reader.u32(),
        safe: reader.yesNo(),
      },
      firmwareVersion: reader.u64(),
      pcrs: readPcrSelection(reader),
      pcrDigest: reader.sized(MAX_DIGEST),
    };
  });
}
