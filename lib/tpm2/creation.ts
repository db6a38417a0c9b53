import { digest } from "./hash.ts";
import { TpmReader } from "./marshal.ts";
import { type PcrSelection, readPcrSelection } from "./pcr.ts";

/** What a TPM says of the making of an object, and the ticket by which it knows its own words again (Part 1, section 27.3). No secret. */
export interface Creation {
  /** TPMS_CREATION_DATA as the TPM made it. */
  data: Uint8Array;
  /** The digest of TPMT_TK_CREATION, in the owner's hierarchy. Good until the TPM is cleared. */
  ticket: Uint8Array;
}

/** In what state of the machine an object was made. */
export interface CreationFacts {
  pcrs: readonly PcrSelection[];
  /** Over the values that these PCRs had then. */
  pcrDigest: Buffer;
  /** The name of the object's parent. */
  parentName: Buffer;
}

/** The hash that the ticket is about, for an object whose name is by SHA-256. */
export function creationHash(data: Uint8Array): Buffer {
  return digest("sha256", data);
}

/** Reads TPMS_CREATION_DATA (Part 2, section 15.1). To be believed after `certifyCreation`. @throws TpmFormatError */
export function parseCreationData(data: Uint8Array): CreationFacts {
  return TpmReader.whole(data, "the creation data", (reader) => {
    const pcrs = readPcrSelection(reader);
    const pcrDigest = reader.sized(64);
    reader.u8(); // locality
    reader.u16(); // the hash of the parent's name
    const parentName = reader.sized(MAX_NAME);
    reader.sized(MAX_NAME); // the parent's qualified name
    reader.sized(64); // what its maker had it say
    return { pcrs, pcrDigest, parentName };
  });
}

const MAX_NAME = 68;
