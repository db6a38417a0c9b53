import { contentOf, derTag, readDer, smallIntegerOf } from "../der.ts";
import { AttestationError } from "../evidence.ts";
import type { Certificate } from "../x509.ts";

export type SnpProduct = "Milan" | "Genoa" | "Turin";

/** Security versions of the firmware's parts, 0 to 255. `fmc` is Turin's; it is 0 elsewhere. */
export interface SnpTcb {
  fmc: number;
  bootloader: number;
  tee: number;
  snp: number;
  microcode: number;
}

export const tcbParts = ["fmc", "bootloader", "tee", "snp", "microcode"] as const satisfies (keyof SnpTcb)[];

/** AMD's extensions of VCEK and VLEK certificates ("VCEK Certificate and KDS Interface Specification", table 8). */
const AMD = "1.3.6.1.4.1.3704.1";
const FORM = `${AMD}.1`;
/** 0; Turin's, which have an FMC, are of form 1. */
const MAX_FORM = 1;
const PRODUCT = `${AMD}.2`;
const versionOids: Readonly<Record<keyof SnpTcb, string>> = {
  fmc: `${AMD}.3.9`,
  bootloader: `${AMD}.3.1`,
  tee: `${AMD}.3.2`,
  snp: `${AMD}.3.3`,
  microcode: `${AMD}.3.8`,
};
/** Parts that have no meaning yet: whatever they come to mean, this verifier would not look at it. */
const reservedOids = [4, 5, 6, 7].map((part) => `${AMD}.3.${part}`);
const HARDWARE_ID = `${AMD}.4`;
const CSP_ID = `${AMD}.5`;

/** Which processor a certificate is for. @throws AttestationError UNSUPPORTED */
export function productOf(certificate: Certificate): SnpProduct {
  const text = contentOf(extensionOf(certificate, PRODUCT), derTag.ia5String).toString("latin1");
  const product = /^(Milan|Genoa|Turin)(-[A-Z]\d)?$/.exec(text)?.[1];
  if (product === undefined)
    throw new AttestationError("UNSUPPORTED", "SEV-SNP: the certificate is for an unknown product");
  return product as SnpProduct;
}

/** The eight bytes of a TCB_VERSION; Turin orders them anew. @throws AttestationError UNSUPPORTED where reserved ones are used */
export function readTcb(bytes: Buffer, product: SnpProduct): SnpTcb {
  const at = (index: number): number => bytes.readUInt8(index);
  const microcode = at(7);
  const reserved = product === "Turin" ? bytes.subarray(4, 7) : bytes.subarray(2, 6);
  if (reserved.some((byte) => byte !== 0))
    throw new AttestationError("UNSUPPORTED", "SEV-SNP: the report has versions of parts that are unknown");
  return product === "Turin"
    ? { fmc: at(0), bootloader: at(1), tee: at(2), snp: at(3), microcode }
    : { fmc: 0, bootloader: at(0), tee: at(1), snp: at(6), microcode };
}

/** The versions that a certificate's key was derived by. @throws AttestationError MALFORMED, UNSUPPORTED */
export function certifiedTcb(certificate: Certificate, product: SnpProduct): SnpTcb {
  const usesReserved = reservedOids.some(
    (oid) => certificate.extensions.has(oid) && smallIntegerOf(extensionOf(certificate, oid)) !== 0,
  );
  if (smallIntegerOf(extensionOf(certificate, FORM)) > MAX_FORM || usesReserved)
    throw new AttestationError("UNSUPPORTED", "SEV-SNP: the certificate is of a form that is unknown");
  const version = (part: keyof SnpTcb): number => smallIntegerOf(extensionOf(certificate, versionOids[part]));
  return {
    fmc: product === "Turin" ? version("fmc") : 0,
    bootloader: version("bootloader"),
    tee: version("tee"),
    snp: version("snp"),
    microcode: version("microcode"),
  };
}

/** The chip that a VCEK belongs to: 64 bytes, 8 on Turin. The extension's value is no DER. */
export function hardwareIdOf({ extensions }: Certificate, product: SnpProduct): Buffer {
  const id = extensions.get(HARDWARE_ID)?.value;
  if (id?.length !== (product === "Turin" ? 8 : 64)) {
    throw new AttestationError("MALFORMED", "SEV-SNP: the certificate is no VCEK: it names no chip");
  }
  return id;
}

/** The cloud provider that a VLEK was given to, as text. */
export function cspIdOf(certificate: Certificate): string {
  return contentOf(extensionOf(certificate, CSP_ID), derTag.ia5String).toString("latin1");
}

function extensionOf({ extensions }: Certificate, oid: string): ReturnType<typeof readDer> {
  const extension = extensions.get(oid);
  if (extension === undefined)
    throw new AttestationError("MALFORMED", `SEV-SNP: the certificate has no extension ${oid}`);
  return readDer(extension.value);
}
