/**
 * A TPM 2.0 client and the structures that its verifier needs, after the TPM 2.0 Library Specification (parts 1 to 3). No native
 * code: `openTpm` speaks the command stream to `/dev/tpmrm0` or to a socket. What only verifies evidence imports the files of the
 * structures and opens no connection.
 */
export { type CredentialChallenge, makeCredential } from "./credential.ts";
export { type HashName } from "./hash.ts";
export { TpmFormatError, TpmReader, TpmWriter } from "./marshal.ts";
export { extendedPcr, pcrDigest, type PcrSelection, pcrSelection, type PcrValues } from "./pcr.ts";
export { authorizationMessage, policyOfAuthorization, policyOfPcrs } from "./policy.ts";
export { hasAttributes, marshalPublic, nameOf, parsePublic, publicKeyOf, type TpmPublic } from "./public-area.ts";
export { parseQuote, type Quote } from "./quote.ts";
export { isSignedBy, marshalSignature, parseSignature, type TpmSignature } from "./signature.ts";
