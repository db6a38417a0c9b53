import { createHash, createPublicKey } from "node:crypto";

import {
  AttestationError,
  AWS_NITRO_ROOT,
  type Evidence,
  type EvidenceType,
  INTEL_ROOT,
  mediaTypes,
} from "@agentkeys/lib/evidence";
import { parseAzureEvidence } from "@agentkeys/lib/evidence/azure-cvm/azure-evidence";
import { Json } from "@agentkeys/lib/evidence/json";
import { authenticateNitro } from "@agentkeys/lib/evidence/nitro";
import type { TicketMachine } from "@agentkeys/lib/evidence/recovery-ticket";
import { readSnpReport } from "@agentkeys/lib/evidence/sev-snp/report";
import { authenticateTdx } from "@agentkeys/lib/evidence/tdx/verify";
import { parseTpm2Evidence } from "@agentkeys/lib/evidence/tpm2-evidence";
import { nameOf } from "@agentkeys/lib/tpm2/public-area";

/**
 * What this machine is called in a custodian's settings and in a ticket, by evidence about itself: for a person to copy. It proves nothing.
 * `undefined` where the evidence does not tell.
 */
export function machineIn(evidence: Evidence, at: Date): TicketMachine | undefined {
  const type = (Object.keys(mediaTypes) as EvidenceType[]).find((each) => mediaTypes[each] === evidence.mediaType);
  try {
    return type === undefined ? undefined : { type, ...readers[type](evidence, at) };
  } catch (error) {
    if (error instanceof AttestationError) return undefined;
    throw error;
  }
}

const readers: Record<EvidenceType, (evidence: Evidence, at: Date) => Omit<TicketMachine, "type">> = {
  tpm2: ({ evidence }) => ({ name: "ak_name", value: hex(nameOf(parseTpm2Evidence(evidence).akPublic)) }),

  "aws-nitro": ({ evidence }, at) => {
    const { moduleId } = authenticateNitro(evidence, { roots: [AWS_NITRO_ROOT], at });
    return { name: "module_id", value: moduleId };
  },

  "sev-snp": ({ evidence }) => ({ name: "chip_id", value: hex(readSnpReport(evidence).chipId) }),

  tdx: ({ evidence, endorsements: [collateral = new Uint8Array()] }, at) => {
    const { pck } = authenticateTdx(evidence, collateral, { roots: [INTEL_ROOT], at });
    return { name: "ppid", value: hex(pck.ppid) };
  },

  "azure-cvm": ({ evidence }) => {
    const keys = Json.parse(parseAzureEvidence(evidence).runtimeClaims, "the runtime claims").field("keys").list();
    const jwk = keys.find((key) => key.field("kid").text() === "HCLAkPub");
    if (jwk === undefined) throw new AttestationError("MALFORMED", "the runtime claims name no attestation key");
    const [n, e] = [jwk.field("n").text(), jwk.field("e").text()];
    const spki = createPublicKey({ key: { kty: "RSA", n, e }, format: "jwk" }).export({ format: "der", type: "spki" });
    return { name: "ak_key", value: createHash("sha256").update(spki).digest("hex") };
  },

  soft: ({ evidence }) => {
    const payload = Json.parse(evidence, "the soft evidence").field("payload").base64url();
    const [first] = Json.parse(payload, "the soft evidence's claims").field("identity").entries();
    if (first === undefined) throw new AttestationError("MALFORMED", "the soft evidence names no machine");
    return { name: first[0], value: first[1].text() };
  },
};

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
