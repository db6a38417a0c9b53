import {
  AttestationError,
  type ActivatedKey,
  type AgeLimits,
  type AzureSilicon,
  type EvidenceType,
  type NonEmpty,
  type Pin,
  type Platform,
  type SnpPlatformPins,
  type TdxPlatformPins,
  type Tpm2Identity,
} from "../evidence/index.ts";

import { platformTraits } from "@agentkeys/lib/evidence/sev-snp/platform-info";

import type { MeasuredCodes } from "./measured-code.ts";
import { allowedPins, anyPins, forEach, onePin, pcrs, pinsOf, rootsOf, SHA256, SHA384 } from "./pin-fields.ts";
import { invalid, type PolicyFields } from "./policy-fields.ts";
import { readRevocation, type RevocationLists } from "./snp-revocation.ts";

/** One kind of hardware that a policy accepts, and what is pinned of it. */
export interface PolicyPlatform {
  type: EvidenceType;
  /** What is demanded, a line each: for `agentkeys attest explain`. */
  demands: readonly string[];
  /**
   * Whether the worker has to prove first, by a second call, that its attestation key lives beside its endorsement key
   * (TPM2_ActivateCredential): where the endorsement key is pinned, and not the attestation key itself.
   */
  needsActivation: boolean;
  /** The pins in the verifiers' form. @throws AttestationError IDENTITY where that proof is needed and was not given */
  pinned: (activated: ActivatedKey | undefined) => Platform;
}

const types = ["tpm2", "aws-nitro", "sev-snp", "tdx", "azure-cvm", "soft"] as const satisfies EvidenceType[];

/** What the rest of a policy says, and the files that it names. */
export interface Around {
  age: AgeLimits;
  measured: MeasuredCodes;
  lists: RevocationLists;
}

/** Reads an entry of `platforms`. @throws PolicyRefused POLICY_INVALID */
export function readPlatform(fields: PolicyFields, around: Around): PolicyPlatform {
  const type = fields.word("type", ...types);
  const platform = type === "tpm2" ? readTpm2(fields, around.measured) : fixed(readers[type](fields, around));
  fields.end();
  return platform;
}

function readTpm2(fields: PolicyFields, measured: MeasuredCodes): PolicyPlatform {
  const { code, codeDemands } = readPcrs(fields, measured);
  const identity = onePin(fields.object("identity"), {
    ak_name: /^000b[0-9a-f]{64}$/,
    ek_key: SHA256,
    ek_root: SHA256,
  });
  if (identity.name === "ek_root") requireStarted(fields.at("code"), code, "pcr4", "where ek_root is pinned");
  return {
    type: "tpm2",
    demands: [...codeDemands, ...inWords("identity", [identity])],
    needsActivation: identity.name !== "ak_name",
    pinned: (activated) => ({ type: "tpm2", pins: { code, identity: tpm2Identity(identity, activated) } }),
  };
}

/** Which code: PCRs as they stand in the policy, or as they stand in a file that a release key signed. */
function readPcrs(fields: PolicyFields, measured: MeasuredCodes) {
  const object = fields.object("code");
  const found = measured.get(fields.at("code"));
  const code = found?.pins ?? pinsOf(object, { names: pcrs, values: SHA256 });
  return { code, codeDemands: [...(found ? [`code: ${found.source}`] : []), ...inWords("code", code)] };
}

/**
 * Registers that firmware leaves at zero hold what any program wrote there. So where no key of one machine is pinned, and everybody has
 * hardware that would do, the one that holds what firmware started has to be pinned too: nobody can make that up.
 */
function requireStarted(place: string, code: NonEmpty<Pin<string>>, register: string, where: string): void {
  if (code.some(({ name }) => name === register)) return;
  throw invalid(place, `must pin ${[register, where].join(" ").trim()}: what else is in it, any program can make up`);
}

function tpm2Identity(
  { name, values }: Pin<"ak_name" | "ek_key" | "ek_root">,
  activated: ActivatedKey | undefined,
): Tpm2Identity {
  if (name === "ak_name") return { by: "ak-name", names: values };
  if (activated === undefined) {
    throw new AttestationError(
      "IDENTITY",
      "tpm2: it was not proven that the attestation key lives beside an endorsement key",
    );
  }
  return name === "ek_key" ? { by: "ek-key", keys: values, activated } : { by: "ek-root", roots: values, activated };
}

interface Read {
  platform: Platform;
  demands: string[];
}

function fixed({ platform, demands }: Read): PolicyPlatform {
  return { type: platform.type, demands, needsActivation: false, pinned: () => platform };
}

type Reader = (fields: PolicyFields, around: Around) => Read;

const readers: Record<Exclude<EvidenceType, "tpm2">, Reader> = {
  "aws-nitro": (fields, { age }) => {
    const source = fields.word("source", "enclave", "nitrotpm");
    // Of an enclave these are filled by AWS; into an instance's, and into an enclave's others, everybody measures what they like.
    const owners = source === "enclave" ? (["pcr3", "pcr4", "pcr8"] as const) : [];
    const pins = {
      ...age,
      source,
      roots: rootsOf(fields),
      code: pinsOf(fields.object("code"), { names: pcrs, values: SHA384 }),
      identity: allowedPins(fields.object("identity"), { ...forEach(owners, SHA384), module_id: /^[!-~]{1,128}$/ }),
    };
    return {
      platform: { type: "aws-nitro", pins },
      demands: [
        rootsInWords(pins.roots),
        `documents of ${pins.source === "enclave" ? "an enclave" : "an instance with NitroTPM"}`,
        ...inWords("code", pins.code),
        ...inWords("identity", pins.identity),
      ],
    };
  },

  "sev-snp": (fields, { lists }) => {
    const silicon = readSnp(fields, lists);
    const identity = allowedPins(fields.object("identity"), {
      chip_id: /^[0-9a-f]{128}$/,
      csp_id: /^[ -~]{1,64}$/,
      host_data: SHA256,
      id_key_digest: SHA384,
      author_key_digest: SHA384,
    });
    return {
      platform: { type: "sev-snp", pins: { ...silicon.pins, identity } },
      demands: [...silicon.demands, ...inWords("identity", identity)],
    };
  },

  tdx: (fields) => {
    const silicon = readTdx(fields);
    const rtmrs = pinsOf(fields.object("code"), { names: ["rtmr0", "rtmr1", "rtmr2", "rtmr3"], values: SHA384 });
    requireStarted(fields.at("code"), rtmrs, "rtmr1", "");
    const identity = allowedPins(fields.object("identity"), {
      ppid: /^[0-9a-f]{32}$/,
      ...forEach(["mrconfigid", "mrowner", "mrownerconfig"], SHA384),
    });
    return {
      platform: { type: "tdx", pins: { ...silicon.pins, rtmrs, identity } },
      demands: [...silicon.demands, ...inWords("code", rtmrs), ...inWords("identity", identity)],
    };
  },

  "azure-cvm": (fields, { measured, lists }) => {
    const hardware = fields.word("hardware", "sev-snp", "tdx");
    const below = fields.object("silicon");
    const read = hardware === "sev-snp" ? readSnp(below, lists) : readTdx(below);
    below.end();
    if ("vmpl" in read.pins && read.pins.vmpl !== 0)
      throw invalid(below.at("vmpl"), "must be 0 below azure-cvm: the paravisor's");
    const silicon = { type: hardware, pins: read.pins } as AzureSilicon;
    const { code, codeDemands } = readPcrs(fields, measured);
    const identity = allowedPins(fields.object("identity"), { ak_key: SHA256, vm_id: /^[!-~]{1,64}$/ });
    // Who runs the same paravisor on hardware of their own gives a VM whatever id they like.
    if (!identity.some(({ name }) => name === "ak_key")) {
      requireStarted(fields.at("code"), code, "pcr4", "where ak_key is not pinned");
    }
    return {
      platform: { type: "azure-cvm", pins: { silicon, code, identity } },
      demands: [`hardware ${hardware}`, ...read.demands, ...codeDemands, ...inWords("identity", identity)],
    };
  },

  soft: (fields, { age }) => {
    if (fields.take("development") !== true)
      throw invalid(fields.at("development"), "must be true: it protects nothing");
    const pins = {
      ...age,
      development: true as const,
      roots: rootsOf(fields),
      code: anyPins(fields.object("code")),
      identity: anyPins(fields.object("identity")),
    };
    return {
      platform: { type: "soft", pins },
      demands: [rootsInWords(pins.roots), ...inWords("code", pins.code), ...inWords("identity", pins.identity)],
    };
  },
};

function readSnp(fields: PolicyFields, lists: RevocationLists): { pins: SnpPlatformPins; demands: string[] } {
  const tcb = fields.object("min_tcb");
  const part = (name: string): number => tcb.integer(name, 0, 255);
  const { revocation, demand } = readRevocation(fields.object("revocation"), lists);
  const pins = {
    roots: rootsOf(fields),
    measurements: fields.texts("measurements", SHA384, "a launch measurement, 96 lower-case hex characters"),
    minTcb: {
      fmc: part("fmc"),
      bootloader: part("bootloader"),
      tee: part("tee"),
      snp: part("snp"),
      microcode: part("microcode"),
    },
    vmpl: fields.integer("vmpl", 0, 3),
    guestMay: fields.someOf("guest_may", "smt", "cxl"),
    platformMust: fields.someOf("platform_must", ...platformTraits),
    revocation,
    acceptKnownBroken: fields.allowances("accept_known_broken", /^[!-~]{1,100}$/, "what broke the platform"),
  };
  tcb.end();
  return {
    pins,
    demands: [
      rootsInWords(pins.roots),
      ...inWords("code", [{ name: "measurement", values: pins.measurements }]),
      `firmware of at least ${JSON.stringify(pins.minTcb)}, asked at VMPL ${pins.vmpl}`,
      ...(pins.platformMust.length > 0 ? [`a platform that is ${pins.platformMust.join(", ")}`] : []),
      demand,
      ...pins.guestMay.map((name) => `ACCEPTED that the guest's policy permits ${name.toUpperCase()}`),
      ...pins.acceptKnownBroken.map((name) => `ACCEPTED although it is broken: ${name}`),
    ],
  };
}

function readTdx(fields: PolicyFields): { pins: TdxPlatformPins; demands: string[] } {
  const pins = {
    roots: rootsOf(fields),
    mrtd: fields.texts("mrtd", SHA384, "a measurement, 96 lower-case hex characters"),
    tcbStatuses: fields.words(
      "tcb_statuses",
      "UpToDate",
      "SWHardeningNeeded",
      "ConfigurationNeeded",
      "ConfigurationAndSWHardeningNeeded",
      "OutOfDate",
      "OutOfDateConfigurationNeeded",
    ),
    advisoriesAllowed: fields.allowances("advisories_allowed", /^INTEL-SA-\d{5}$/, "an advisory of Intel's"),
    minTcbEvaluation: fields.integer("min_tcb_evaluation", 0, 1_000_000),
  };
  return {
    pins,
    demands: [
      rootsInWords(pins.roots),
      ...inWords("code", [{ name: "mrtd", values: pins.mrtd }]),
      `firmware that Intel calls ${pins.tcbStatuses.join(" or ")}, by data of evaluation ${pins.minTcbEvaluation} or later`,
      ...pins.advisoriesAllowed.map((name) => `ACCEPTED although it is known: ${name}`),
    ],
  };
}

function rootsInWords(roots: NonEmpty<string>): string {
  return `certificates lead to the root ${roots.join(" or ")}`;
}

function inWords(what: string, pins: readonly { name: string; values: readonly string[] }[]): string[] {
  return pins.map(({ name, values }) => `${what}: ${name} is ${values.join(" or ")}`);
}
