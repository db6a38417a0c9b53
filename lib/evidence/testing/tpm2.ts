import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";

import { structureTag, TPM_GENERATED_VALUE } from "../../tpm2/constants.ts";
import { TpmWriter } from "../../tpm2/marshal.ts";
import { pcrDigest, type PcrSelection, writePcrSelection } from "../../tpm2/pcr.ts";
import { type EccPublic, nameOf } from "../../tpm2/public-area.ts";
import type { TpmSignature } from "../../tpm2/signature.ts";
import { attestationKey } from "../../tpm2/templates.ts";
import { type Evidence, mediaTypes } from "../evidence.ts";
import { formatTpm2Evidence, type Tpm2Evidence } from "../tpm2-evidence.ts";

/** A key that claims to be a TPM's, and quotes whatever it is told to: what a verifier with the wrong pins would believe. */
export interface QuotingKey {
  readonly area: EccPublic;
  /** Lower-case hex. */
  readonly name: string;
  readonly privateKey: KeyObject;
  quote(says: Quoted): Tpm2Evidence;
}

export interface Quoted {
  extraData: Uint8Array;
  pcrs: ReadonlyMap<number, Uint8Array>;
  /** What the quote says that it covers, where that is something else. */
  selections?: readonly PcrSelection[];
  magic?: number;
  tag?: number;
  hash?: "sha1" | "sha256" | "sha384";
  area?: EccPublic;
}

export function createQuotingKey(): QuotingKey {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const { x = "", y = "" } = publicKey.export({ format: "jwk" });
  const area: EccPublic = { ...attestationKey(""), x: Buffer.from(x, "base64url"), y: Buffer.from(y, "base64url") };
  return {
    area,
    name: nameOf(area).toString("hex"),
    privateKey,
    quote: (says) => {
      const attest = attestOf(says);
      return {
        attest,
        signature: signatureOf(attest, privateKey, says.hash),
        akPublic: says.area ?? area,
        pcrs: says.pcrs,
      };
    },
  };
}

export function tpm2EvidenceOf(evidence: Tpm2Evidence, endorsements: readonly Uint8Array[] = []): Evidence {
  return { mediaType: mediaTypes.tpm2, evidence: formatTpm2Evidence(evidence), endorsements };
}

function attestOf({ extraData, pcrs, selections, magic, tag }: Quoted): Buffer {
  const writer = new TpmWriter()
    .u32(magic ?? TPM_GENERATED_VALUE)
    .u16(tag ?? structureTag.attestQuote)
    .sized(Buffer.alloc(34, 1))
    .sized(extraData)
    .u64(123_456n)
    .u32(7)
    .u32(3)
    .u8(1)
    .u64(0x2019_1023_0016_3636n);
  return writePcrSelection(writer, selections ?? [{ hash: "sha256", pcrs: [...pcrs.keys()] }])
    .sized(pcrDigest(pcrs))
    .done();
}

function signatureOf(message: Uint8Array, key: KeyObject, hash: Quoted["hash"] & string = "sha256"): TpmSignature {
  const raw = sign(hash, message, { key, dsaEncoding: "ieee-p1363" });
  return { scheme: "ecdsa", hash, r: raw.subarray(0, 32), s: raw.subarray(32) };
}
