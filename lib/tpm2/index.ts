/**
 * A TPM 2.0 client and the structures that its verifier needs, after the TPM 2.0 Library Specification (parts 1 to 3). No native
 * code: `openTpm` speaks the command stream to `/dev/tpmrm0` or to a socket. What only verifies evidence imports the files of the
 * structures and opens no connection.
 */
export { type Tpm, type TpmDependencies, tpmOver, type TpmSequence } from "./client.ts";
export {
  type Approval,
  approvalReference,
  approve,
  type Approved,
  formatApprovals,
  isApprovedBy,
  isSecurityVersion,
  MAX_SECURITY_VERSION,
  parseApprovals,
} from "./approval.ts";
export { activateCredential, quote } from "./commands/attestation.ts";
export { nsmRequest } from "./commands/aws-nsm.ts";
export { getProperty, getRandom, resetLockout, shutdown, startup, tpmProperty } from "./commands/lifecycle.ts";
export {
  counterName,
  defineCounter,
  incrementCounter,
  readCounter,
  readNv,
  readNvPublic,
  undefineNv,
} from "./commands/nv.ts";
export {
  certifyCreation,
  create,
  createPrimary,
  endorsementKey,
  hmac,
  load,
  loadExternal,
  readPublic,
  storageRoot,
  type TpmObject,
  unseal,
  type WrappedObject,
} from "./commands/objects.ts";
export { extendPcr, readPcrs } from "./commands/pcr.ts";
export {
  type Authorization,
  policyAuthorize,
  policyCounterAtMost,
  policyDigest,
  policyEndorsement,
  policyOr,
  policyPcr,
} from "./commands/policy.ts";
export { startSession } from "./commands/sessions.ts";
export { EK_RSA_CERTIFICATE_INDEX, EK_RSA_HANDLE, objectAttribute } from "./constants.ts";
export { type Creation, type CreationFacts, parseCreationData } from "./creation.ts";
export { type CredentialChallenge, makeCredential } from "./credential.ts";
export { TpmChannelError, TpmError, type TpmErrorKind } from "./errors.ts";
export { type HashName } from "./hash.ts";
export { TpmFormatError, TpmReader, TpmWriter } from "./marshal.ts";
export { openTpm } from "./open.ts";
export { extendedPcr, pcrDigest, type PcrSelection, pcrSelection, type PcrValues } from "./pcr.ts";
export {
  type Alternatives,
  anyOf,
  authorizationMessage,
  policyOfAuthorization,
  policyOfPcrs,
  policyWithCounterAtMost,
} from "./policy.ts";
export { hasAttributes, marshalPublic, nameOf, parsePublic, publicKeyOf, type TpmPublic } from "./public-area.ts";
export { parseQuote, type Quote } from "./quote.ts";
export { isSignedBy, marshalSignature, parseSignature, type TpmSignature } from "./signature.ts";
export type { TpmSession } from "./session.ts";
export * as template from "./templates.ts";
export { parseTpmAddress, type TpmAddress } from "./transport.ts";
