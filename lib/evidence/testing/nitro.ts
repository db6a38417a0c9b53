import { type KeyObject, sign } from "node:crypto";

import { type Cbor, encodeCbor } from "../cbor.ts";

/** What a document of the Nitro hypervisor says; `pcrs` are 48 bytes each. */
export interface NitroClaims {
  moduleId: string;
  madeAt: Date;
  source: "enclave" | "nitrotpm";
  pcrs: ReadonlyMap<number, Buffer>;
  publicKey: Buffer | null;
  userData: Buffer | null;
  nonce: Buffer | null;
}

/** Who signs it: the key on P-384, its certificate, and the authorities from just above it to the root. */
export interface NitroSigner {
  key: KeyObject;
  der: Buffer;
  chain: readonly Buffer[];
}

export interface NitroForgery {
  /** Replaces or adds fields of the payload. */
  fields?: readonly (readonly [string, Cbor])[];
  protectedHeader?: Cbor;
  unprotected?: Cbor;
}

/** Issues a document as the hypervisor would, under a test root. */
export function issueNitroDocument(claims: NitroClaims, signer: NitroSigner, forgery: NitroForgery = {}): Buffer {
  const payload = encodeCbor(
    new Map<string, Cbor>([
      ["module_id", claims.moduleId],
      ["digest", "SHA384"],
      ["timestamp", claims.madeAt.getTime()],
      [claims.source === "enclave" ? "pcrs" : "nitrotpm_pcrs", claims.pcrs],
      ["certificate", signer.der],
      ["cabundle", signer.chain.toReversed()],
      ["public_key", claims.publicKey],
      ["user_data", claims.userData],
      ["nonce", claims.nonce],
      ...(forgery.fields ?? []),
    ]),
  );
  return signCose(payload, signer.key, forgery);
}

/** COSE_Sign1 with ES384 (RFC 9052 section 4.4). */
export function signCose(payload: Buffer, key: KeyObject, { protectedHeader, unprotected }: NitroForgery = {}): Buffer {
  const header = encodeCbor(protectedHeader ?? new Map([[1, -35]]));
  const signed = encodeCbor(["Signature1", header, Buffer.alloc(0), payload]);
  const signature = sign("sha384", signed, { key, dsaEncoding: "ieee-p1363" });
  return encodeCbor([header, unprotected ?? new Map(), payload, signature]);
}
