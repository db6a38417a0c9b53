import { contentOf, type Der, derTag, oidOf, readDer, sequenceOf, smallIntegerOf } from "../der.ts";
import { AttestationError } from "../evidence.ts";
import type { Certificate } from "../x509.ts";

/** What a processor's certificate says about it ("Intel SGX PCK Certificate and CRL Profile Specification", section 1.3.5). */
export interface PckClaims {
  /** Which machine: 16 bytes. */
  ppid: Buffer;
  /** Which family and platform: 6 bytes. */
  fmspc: Buffer;
  pceId: Buffer;
  /** Security versions of the processor's 16 components, and of the provisioning enclave. */
  componentSvns: readonly number[];
  pceSvn: number;
}

export const SGX_EXTENSIONS = "1.2.840.113741.1.13.1";
const oid = {
  ppid: `${SGX_EXTENSIONS}.1`,
  tcb: `${SGX_EXTENSIONS}.2`,
  pceSvn: `${SGX_EXTENSIONS}.2.17`,
  pceId: `${SGX_EXTENSIONS}.3`,
  fmspc: `${SGX_EXTENSIONS}.4`,
} as const;

/** @throws AttestationError MALFORMED */
export function pckClaimsOf({ extensions }: Certificate): PckClaims {
  const extension = extensions.get(SGX_EXTENSIONS);
  if (extension === undefined) throw new AttestationError("MALFORMED", "TDX: the certificate is not a processor's");
  const fields = fieldsOf(readDer(extension.value));
  const tcb = fieldsOf(fields.get(oid.tcb));
  return {
    ppid: octets(fields.get(oid.ppid), 16),
    fmspc: octets(fields.get(oid.fmspc), 6),
    pceId: octets(fields.get(oid.pceId), 2),
    componentSvns: Array.from({ length: 16 }, (_, index) => smallIntegerOf(tcb.get(`${oid.tcb}.${index + 1}`))),
    pceSvn: smallIntegerOf(tcb.get(oid.pceSvn)),
  };
}

/** A SEQUENCE of pairs: an object identifier and a value. */
function fieldsOf(list: Der | undefined): Map<string, Der> {
  const fields = new Map<string, Der>();
  for (const pair of sequenceOf(list)) {
    const [name, value, ...more] = sequenceOf(pair);
    const key = oidOf(name);
    if (value === undefined || more.length > 0 || fields.has(key)) {
      throw new AttestationError("MALFORMED", `TDX: the processor's certificate has an odd or second field ${key}`);
    }
    fields.set(key, value);
  }
  return fields;
}

function octets(value: Der | undefined, length: number): Buffer {
  const content = contentOf(value, derTag.octetString);
  if (content.length !== length) {
    throw new AttestationError(
      "MALFORMED",
      `TDX: the processor's certificate has a field that is not of ${length} bytes`,
    );
  }
  return content;
}
