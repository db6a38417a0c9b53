/** Numbers of the TPM 2.0 Library Specification, Part 2 (Structures): only those that are used here. */

/** TPM_ALG_ID (section 6.3). */
export const algorithm = {
  rsa: 0x0001,
  sha1: 0x0004,
  hmac: 0x0005,
  aes: 0x0006,
  keyedHash: 0x0008,
  sha256: 0x000b,
  sha384: 0x000c,
  sha512: 0x000d,
  null: 0x0010,
  rsassa: 0x0014,
  rsapss: 0x0016,
  ecdsa: 0x0018,
  ecc: 0x0023,
  cfb: 0x0043,
} as const;

/** TPM_CC (section 6.5.2). */
export const commandCode = {
  evictControl: 0x120,
  nvUndefineSpace: 0x122,
  nvDefineSpace: 0x12a,
  createPrimary: 0x131,
  nvIncrement: 0x134,
  nvWrite: 0x137,
  dictionaryAttackLockReset: 0x139,
  startup: 0x144,
  shutdown: 0x145,
  certifyCreation: 0x14a,
  activateCredential: 0x147,
  policyNv: 0x149,
  nvRead: 0x14e,
  policySecret: 0x151,
  create: 0x153,
  hmac: 0x155,
  load: 0x157,
  quote: 0x158,
  unseal: 0x15e,
  flushContext: 0x165,
  loadExternal: 0x167,
  nvReadPublic: 0x169,
  policyAuthorize: 0x16a,
  policyOr: 0x171,
  readPublic: 0x173,
  startAuthSession: 0x176,
  verifySignature: 0x177,
  getCapability: 0x17a,
  getRandom: 0x17b,
  pcrRead: 0x17e,
  policyPcr: 0x17f,
  pcrExtend: 0x182,
  policyGetDigest: 0x189,
  /** TPM2_VENDOR_AWS_NSM_REQUEST of AWS's NitroTPM, of no specification: see commands/aws-nsm.ts. */
  awsNsmRequest: 0x20000001,
} as const;

export type CommandCode = (typeof commandCode)[keyof typeof commandCode];

/** TPM_RH (section 7.4): handles that every TPM has. */
export const handle = {
  owner: 0x40000001,
  null: 0x40000007,
  password: 0x40000009,
  lockout: 0x4000000a,
  endorsement: 0x4000000b,
} as const;

/** TPM_ST (section 6.9): what a structure says that it is. */
export const structureTag = {
  noSessions: 0x8001,
  sessions: 0x8002,
  attestQuote: 0x8018,
  creation: 0x8021,
  verified: 0x8022,
} as const;

/** TPMA_OBJECT (section 8.3). */
export const objectAttribute = {
  fixedTpm: 1 << 1,
  fixedParent: 1 << 4,
  sensitiveDataOrigin: 1 << 5,
  userWithAuth: 1 << 6,
  adminWithPolicy: 1 << 7,
  noDictionaryAttackProtection: 1 << 10,
  restricted: 1 << 16,
  decrypt: 1 << 17,
  sign: 1 << 18,
} as const;

/** TPMA_NV (section 13.4). */
export const nvAttribute = {
  ownerWrite: 1 << 1,
  authWrite: 1 << 2,
  counter: 1 << 4,
  ownerRead: 1 << 17,
  authRead: 1 << 18,
  noDictionaryAttackProtection: 1 << 25,
  written: 1 << 29,
} as const;

/** TPMA_SESSION (section 8.4). */
export const sessionAttribute = {
  continueSession: 1 << 0,
  decrypt: 1 << 5,
  encrypt: 1 << 6,
} as const;

/** What every TPM_GENERATED structure begins with; a restricted key signs nothing from outside that begins so. */
export const TPM_GENERATED_VALUE = 0xff544347;

/** Where the TCG EK Credential Profile (section 2.2.1.4) puts the RSA-2048 endorsement key and its certificate. */
export const EK_RSA_CERTIFICATE_INDEX = 0x01c00002;
export const EK_RSA_HANDLE = 0x81010001;
