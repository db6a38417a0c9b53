import {
  AMD_ROOTS,
  AttestationError,
  AWS_NITRO_ROOT,
  type Evidence,
  type EvidenceType,
  INTEL_ROOT,
  mediaTypes,
  type NonEmpty,
} from "@agentkeys/lib/evidence";
import { parseAzureEvidence } from "@agentkeys/lib/evidence/azure-cvm/azure-evidence";
import { readRuntimeClaims } from "@agentkeys/lib/evidence/azure-cvm/verify";
import { Json } from "@agentkeys/lib/evidence/json";
import { authenticateNitro } from "@agentkeys/lib/evidence/nitro";
import { permittedIn } from "@agentkeys/lib/evidence/sev-snp/guest-policy";
import { traitsOf } from "@agentkeys/lib/evidence/sev-snp/platform-info";
import { authenticateSnp } from "@agentkeys/lib/evidence/sev-snp/verify";
import { authenticateTdx } from "@agentkeys/lib/evidence/tdx/verify";
import { readTpm2 } from "@agentkeys/lib/evidence/tpm2";
import { nameOf } from "@agentkeys/lib/tpm2/public-area";

/** What evidence says of the hardware, as an entry of a policy's `platforms`: for a person to compare with what they expect. */
export type ObservedPlatform = Readonly<Record<string, unknown>> & { type: EvidenceType };

/**
 * Reads evidence to write it into a policy. Where the maker of the hardware is known, its certificates have to lead to the maker's root, or
 * to `roots` (SHA-256 of certificates) that a person vouches for. A TPM is taken as it is: that it is the right one is for the person to see.
 * @throws AttestationError
 */
export function observePlatform(evidence: Evidence, { roots, at }: Observing): ObservedPlatform {
  const type = (Object.keys(mediaTypes) as EvidenceType[]).find((each) => mediaTypes[each] === evidence.mediaType);
  if (type === undefined) {
    throw new AttestationError(
      "UNSUPPORTED",
      `evidence of the type ${JSON.stringify(evidence.mediaType)} is not known here`,
    );
  }
  return { type, ...observers[type](evidence, { roots, at }) };
}

type Observer = (evidence: Evidence, o: Observing) => Record<string, unknown>;

const observers: Record<EvidenceType, Observer> = {
  tpm2: (evidence) => {
    const { akPublic, pcrs } = readTpm2(evidence);
    const values = Object.fromEntries([...pcrs].map(([pcr, value]) => [`pcr${pcr}`, hex(value)]));
    return { code: pinsOn(values), identity: { ak_name: [hex(nameOf(akPublic))] } };
  },

  "aws-nitro": ({ evidence }, o) => {
    const roots = either(o.roots, AWS_NITRO_ROOT);
    const { source, pcrs, moduleId } = authenticateNitro(evidence, { roots, at: o.at });
    const named = (...names: (keyof typeof pcrs)[]): Record<string, string[]> =>
      pinsOn(Object.fromEntries(names.map((name) => [name, pcrs[name] ?? ""])));
    const owner = source === "enclave" ? named("pcr3", "pcr8") : {};
    return {
      source,
      roots_sha256: roots,
      code: source === "enclave" ? named("pcr0", "pcr1", "pcr2") : named("pcr4", "pcr7", "pcr11", "pcr12"),
      identity: Object.keys(owner).length > 0 ? owner : { module_id: [moduleId] },
    };
  },

  "sev-snp": ({ evidence, endorsements }, o) => {
    const { silicon, report } = observeSnp(evidence, endorsements, o);
    const identity = report.cspId === undefined ? { chip_id: [hex(report.chipId)] } : { csp_id: [report.cspId] };
    return { ...silicon, identity: { ...identity, ...pinsOn({ host_data: hex(report.hostData) }) } };
  },

  tdx: ({ evidence, endorsements }, o) => {
    const { silicon, td, ppid } = observeTdx(evidence, endorsements, o);
    return {
      ...silicon,
      code: pinsOn(Object.fromEntries(td.rtmrs.map((value, index) => [`rtmr${index}`, hex(value)]))),
      identity: pinsOn({ ppid, mrconfigid: hex(td.mrConfigId), mrowner: hex(td.mrOwner) }),
    };
  },

  "azure-cvm": ({ evidence, endorsements }, o) => {
    const { hardware, report, runtimeClaims, pcrs } = parseAzureEvidence(evidence);
    const observeSilicon = hardware === "sev-snp" ? observeSnp : observeTdx;
    const values = Object.fromEntries([...pcrs].map(([pcr, value]) => [`pcr${pcr}`, hex(value)]));
    const { ak_key: akKey, vm_id: vmId } = readRuntimeClaims(runtimeClaims).found;
    return {
      hardware,
      silicon: observeSilicon(report, endorsements, o).silicon,
      code: pinsOn(values),
      identity: { ak_key: [akKey], vm_id: [vmId] },
    };
  },

  soft: ({ evidence }, o) => {
    const [first, ...rest] = o.roots;
    if (first === undefined) throw new AttestationError("ROOT", "soft evidence has no maker: its root has to be named");
    const payload = Json.parse(evidence, "the soft evidence").field("payload").base64url();
    const claims = Json.parse(payload, "the soft evidence's claims");
    const named = (name: string): Record<string, string[]> =>
      Object.fromEntries(
        claims
          .field(name)
          .entries()
          .map(([key, value]) => [key, [value.text()]]),
      );
    return {
      development: true,
      roots_sha256: [first, ...rest],
      code: named("measurements"),
      identity: named("identity"),
    };
  },
};

interface Observing {
  roots: readonly string[];
  at: Date;
}

function observeSnp(bytes: Uint8Array, endorsements: readonly Uint8Array[], { roots, at }: Observing) {
  const accepted = either(roots, AMD_ROOTS.Milan, AMD_ROOTS.Genoa, AMD_ROOTS.Turin);
  const report = authenticateSnp(bytes, endorsements, { roots: accepted, at });
  const silicon = {
    roots_sha256: roots.length > 0 ? accepted : [AMD_ROOTS[report.product]],
    measurements: [hex(report.measurement)],
    min_tcb: report.tcb,
    vmpl: report.vmpl,
    guest_may: permittedIn(report.policy),
    platform_must: traitsOf(report.platformInfo),
    // Whoever prefers AMD's lists names them here instead.
    revocation: { authorities_sha256: [report.authority.fingerprint] },
    // What is broken is accepted by nobody but a person, who writes its name here.
    accept_known_broken: [],
  };
  return { silicon, report };
}

function observeTdx(bytes: Uint8Array, endorsements: readonly Uint8Array[], { roots, at }: Observing) {
  const accepted = either(roots, INTEL_ROOT);
  const [collateral = new Uint8Array()] = endorsements;
  const { td, pck, tcbEvaluation } = authenticateTdx(bytes, collateral, { roots: accepted, at });
  const silicon = {
    roots_sha256: accepted,
    mrtd: [hex(td.mrtd)],
    tcb_statuses: ["UpToDate"],
    advisories_allowed: [],
    min_tcb_evaluation: tcbEvaluation,
  };
  return { silicon, td, ppid: hex(pck.ppid) };
}

/** What was measured into nothing pins nothing. */
function pinsOn(values: Readonly<Record<string, string>>): Record<string, string[]> {
  const meant = Object.entries(values).filter(([, value]) => !/^(0*|f+)$/.test(value));
  return Object.fromEntries(meant.map(([name, value]) => [name, [value]]));
}

function either(given: readonly string[], ...usual: [string, ...string[]]): NonEmpty<string> {
  const [first, ...rest] = given;
  return first === undefined ? usual : [first, ...rest];
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
