import { createHash, type KeyObject, randomBytes } from "node:crypto";

import { equalSecrets } from "../secret.ts";
import { type CredentialChallenge, makeCredential } from "../tpm2/credential.ts";
import { TpmFormatError } from "../tpm2/marshal.ts";
import { pcrDigest } from "../tpm2/pcr.ts";
import { nameOf, publicKeyOf, type TpmPublic } from "../tpm2/public-area.ts";
import { parseQuote, type Quote } from "../tpm2/quote.ts";
import { isSignedBy, type TpmSignature } from "../tpm2/signature.ts";
import { readCertificates, verifyChain } from "./chain.ts";
import {
  AttestationError,
  type Evidence,
  type EvidenceVerifier,
  type Expected,
  mediaTypes,
  type NonEmpty,
  type Verified,
} from "./evidence.ts";
import { compareBytes, comparePins, type Pin } from "./pins.ts";
import { checkAttestationKey, checkEndorsementKey, checkKeyStrength, checkScheme } from "./tpm2-keys.ts";
import { MAX_TPM2_EVIDENCE, parseTpm2Evidence, type Tpm2Evidence } from "./tpm2-evidence.ts";

/** What is pinned of a machine with a TPM. */
export interface Tpm2Pins {
  /** Which code: `pcr0` to `pcr23` of the SHA-256 bank, 64 hex characters. */
  code: NonEmpty<Pin<`pcr${number}`>>;
  /** Whose: everybody can boot the same code on a TPM of their own. */
  identity: Tpm2Identity;
}

export type Tpm2Identity =
  /** Names of attestation keys (`000b` and 64 hex characters), as `enroll` saw them. One round trip. */
  | { by: "ak-name"; names: NonEmpty<string> }
  /** SHA-256 of the SPKI of endorsement keys. */
  | { by: "ek-key"; keys: NonEmpty<string>; activated: ActivatedKey }
  /** SHA-256 of root certificates of TPM makers: any TPM of theirs passes, which the warnings say. */
  | { by: "ek-root"; roots: NonEmpty<string>; activated: ActivatedKey };

/** What a TPM has proven by giving a credential back: its attestation key lives beside this endorsement key. */
export class ActivatedKey {
  /** Only `beginActivation` makes one. */
  private constructor(
    readonly akName: string,
    /** SHA-256 of the SPKI. */
    readonly ekKey: string,
  ) {}

  /** @internal */
  static readonly proven = (akName: string, ekKey: string): ActivatedKey => new ActivatedKey(akName, ekKey);
}

/** What is found true of a quote; `platform` is for the record, nothing of it is gated. */
export interface VerifiedTpm2 extends Verified {
  platform: Tpm2Platform;
}

export interface Tpm2Platform {
  /** Obfuscated by the TPM for keys that are not in the endorsement hierarchy. */
  firmwareVersion: string;
  resetCount: number;
  restartCount: number;
  /** Milliseconds the TPM has been powered; no time of day. */
  clockMs: bigint;
  clockSafe: boolean;
}

const SHA256_BANK = "sha256";

/**
 * Quotes of a TPM 2.0 (Part 3, section 18.4): the attestation key made in the TPM signs the digest of its PCRs and the report data.
 * The client's nonce is in the claims that the report data covers. What this proves is which code was measured; that nobody else
 * can read its memory it does not prove.
 */
export const tpm2Verifier: EvidenceVerifier<Tpm2Pins> & {
  verify(evidence: Evidence, expected: Expected, pins: Tpm2Pins): VerifiedTpm2;
} = {
  type: "tpm2",
  verify(evidence, { reportData, at }, { code, identity }) {
    const read = readTpm2(evidence);
    checkAttestationKey(read.akPublic);
    checkScheme(read.akPublic, read.signature);
    const { measurements, platform } = verifyQuote({
      key: keyOf(read.akPublic),
      attest: read.attest,
      signature: read.signature,
      pcrs: read.pcrs,
      extraData: reportData,
      code,
    });
    const akName = Buffer.from(nameOf(read.akPublic)).toString("hex");
    return { type: "tpm2", measurements, platform, ...verifyIdentity(akName, identity, evidence.endorsements, at) };
  },
};

/** A quote by a key that is known to be a TPM's own, for example because silicon says so (`azure-cvm`). */
export interface QuoteToVerify {
  key: KeyObject;
  attest: Uint8Array;
  signature: TpmSignature;
  /** Every PCR that the quote covers, and no other. */
  pcrs: ReadonlyMap<number, Uint8Array>;
  /** What the quote has to include. */
  extraData: Uint8Array;
  code: NonEmpty<Pin<`pcr${number}`>>;
}

/** @throws AttestationError MALFORMED, UNSUPPORTED, SIGNATURE, REPORT_DATA, MEASUREMENT */
export function verifyQuote(quoted: QuoteToVerify): { measurements: Record<string, string>; platform: Tpm2Platform } {
  const { key, attest, signature, pcrs, extraData, code } = quoted;
  if (signature.hash === "sha1") throw new AttestationError("UNSUPPORTED", "tpm2: the quote is signed with SHA-1");
  checkKeyStrength(key, "attestation key");
  if (!isSignedBy(key, attest, signature)) {
    throw new AttestationError("SIGNATURE", "tpm2: the quote is not signed by its attestation key");
  }
  const quote = reading(() => parseQuote(attest));
  compareBytes(quote.extraData, extraData, "REPORT_DATA", "tpm2: extraData of the quote");
  checkSelection(quote, pcrs);
  compareBytes(pcrDigest(pcrs, signature.hash), quote.pcrDigest, "MEASUREMENT", "tpm2: the digest of the PCR values");
  const found = Object.fromEntries([...pcrs].map(([pcr, value]) => [`pcr${pcr}`, Buffer.from(value).toString("hex")]));
  return { measurements: comparePins(code, found, "MEASUREMENT", "tpm2"), platform: platformOf(quote) };
}

/** A credential challenge on its way: see `beginActivation`. */
export interface Activation {
  challenge: CredentialChallenge;
  /** Takes what the worker answered. @throws AttestationError IDENTITY when it is not the credential. */
  finish: (answer: Uint8Array) => ActivatedKey;
}

/**
 * Challenges a worker to prove that the attestation key of this evidence lives in the TPM of this endorsement key (TPM2_MakeCredential
 * in software). Whose endorsement key it is shows only when the result is verified against pins.
 * @throws AttestationError MALFORMED, UNSUPPORTED when the evidence names no endorsement key that can be challenged
 */
export function beginActivation(evidence: Evidence, random: (length: number) => Uint8Array = randomBytes): Activation {
  const { akPublic, ekPublic } = readTpm2(evidence);
  checkAttestationKey(akPublic);
  if (ekPublic === undefined) throw new AttestationError("IDENTITY", "tpm2: the evidence names no endorsement key");
  const ekKey = spkiDigest(reading(() => checkEndorsementKey(ekPublic)));
  const akName = nameOf(akPublic);
  const secret = Buffer.from(random(32));
  const challenge = reading(() => makeCredential(ekPublic, akName, secret, random));
  return {
    challenge,
    finish: (answer) => {
      if (!equalSecrets(answer, secret)) {
        throw new AttestationError("IDENTITY", "tpm2: the attestation key does not live beside the endorsement key");
      }
      return ActivatedKey.proven(akName.toString("hex"), ekKey);
    },
  };
}

/** Reads evidence; nothing about it is verified yet. @throws AttestationError NOT_ACCEPTED, MALFORMED, UNSUPPORTED */
export function readTpm2({ mediaType, evidence, endorsements }: Evidence): Tpm2Evidence {
  if (mediaType !== mediaTypes.tpm2) {
    throw new AttestationError("NOT_ACCEPTED", `this is no evidence of the type ${mediaTypes.tpm2}`);
  }
  if (evidence.length > MAX_TPM2_EVIDENCE) {
    throw new AttestationError("MALFORMED", `tpm2: more than ${MAX_TPM2_EVIDENCE} bytes of evidence`);
  }
  if (endorsements.length > MAX_CERTIFICATES) {
    throw new AttestationError("MALFORMED", `tpm2: more than ${MAX_CERTIFICATES} endorsements`);
  }
  return reading(() => parseTpm2Evidence(evidence));
}

const MAX_CERTIFICATES = 6;

/** One bank, SHA-256; and a value for each PCR of it, so that none is named that the digest does not cover. */
function checkSelection({ pcrs: selections }: Quote, values: ReadonlyMap<number, Uint8Array>): void {
  const [selection, ...more] = selections;
  if (selection?.hash !== SHA256_BANK || more.length > 0) {
    const banks = selections.map(({ hash }) => hash).join(", ");
    throw new AttestationError("UNSUPPORTED", `tpm2: the quote is of the PCR banks ${banks}, expected sha256 alone`);
  }
  const [quoted, given] = [selection.pcrs.join(), [...values.keys()].sort((a, b) => a - b).join()];
  if (quoted !== given) {
    throw new AttestationError(
      "MEASUREMENT",
      `tpm2: the quote covers the PCRs ${quoted}, but values came for ${given}`,
    );
  }
}

function verifyIdentity(
  akName: string,
  pins: Tpm2Identity,
  endorsements: readonly Uint8Array[],
  at: Date,
): Pick<Verified, "identity" | "warnings"> {
  if (pins.by === "ak-name") {
    const pin = { name: "ak_name", values: pins.names };
    return { identity: comparePins([pin], { ak_name: akName }, "IDENTITY", "tpm2"), warnings: [] };
  }
  const { activated } = pins;
  if (activated.akName !== akName) {
    throw new AttestationError("IDENTITY", `tpm2: the key ${activated.akName} was activated, but ${akName} has signed`);
  }
  const identity = { ak_name: akName, ek_key: activated.ekKey };
  if (pins.by === "ek-key") {
    comparePins([{ name: "ek_key", values: pins.keys }], identity, "IDENTITY", "tpm2");
    return { identity, warnings: [] };
  }
  const what = "tpm2: the endorsement key";
  const chain = readCertificates(endorsements, what);
  const leaf = verifyChain(chain, { roots: pins.roots, at, what, purpose: "endorsement" });
  if (spkiDigest(leaf.publicKey) !== activated.ekKey) {
    throw new AttestationError("IDENTITY", `${what} certificate is for another key than the one that was activated`);
  }
  return {
    identity: { ...identity, ek_root: chain.at(-1)?.fingerprint ?? "" },
    warnings: ["only the maker of the TPM is pinned: any TPM of theirs that runs the same code passes"],
  };
}

function platformOf({ firmwareVersion, clock }: Quote): Tpm2Platform {
  return {
    firmwareVersion: firmwareVersion.toString(16).padStart(16, "0"),
    resetCount: clock.resetCount,
    restartCount: clock.restartCount,
    clockMs: clock.milliseconds,
    clockSafe: clock.safe,
  };
}

function keyOf(area: TpmPublic): KeyObject {
  return reading(() => publicKeyOf(area));
}

function spkiDigest(key: KeyObject): string {
  return createHash("sha256")
    .update(key.export({ format: "der", type: "spki" }))
    .digest("hex");
}

/** What cannot be read is malformed evidence, and the structure's name says where. */
function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof TpmFormatError)
      throw new AttestationError("MALFORMED", `tpm2: ${error.message}`, { cause: error });
    throw error;
  }
}
