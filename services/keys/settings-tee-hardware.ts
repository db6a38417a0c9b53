import { createPublicKey, type KeyObject, X509Certificate } from "node:crypto";
import { isAbsolute } from "node:path";

import { type Setting, SettingError } from "@agentkeys/lib/settings";
import { fileContents, integer, list, oneOf, optional, text } from "@agentkeys/lib/settings/kinds";
import { type Approval, parseApprovals, parseTpmAddress, type TpmAddress } from "@agentkeys/lib/tpm2";

/** What a TEE worker is told of the machine that it runs on. */
export interface HardwareSettings {
  /** "none" where the platform has none: then nothing counts there, and daemons alone notice a disk that was put back. */
  tpm: TpmAddress | "none";
  /** Where the root key is while the worker runs. */
  rootKey: "memory" | "tpm";
  seal: SealSettings;
  evidence: EvidenceSettings;
}

/** For which code the master secret opens: exactly the code that sealed it, what a release key approves, or what the policy of a key of AWS KMS lets use it. */
export type SealSettings =
  | { by: "tpm2"; pcrs: readonly number[]; next?: ReleaseSeal }
  | ({ by: "tpm2"; next?: ReleaseSeal } & ReleaseSeal)
  | { by: "aws-kms"; key: KmsKey; program?: string };

/** A release key and what it approves. As `next`: what is opened by the other settings is sealed anew for this key. */
export interface ReleaseSeal {
  releaseKey: KeyObject;
  approvals: readonly Approval[];
}

/** A key of AWS KMS, by its ARN. */
export interface KmsKey {
  arn: string;
  region: string;
}

/** What vouches for the worker, and what that needs. Paths are of files that somebody keeps fresh. Without a program, the TPM is a NitroTPM. */
export type EvidenceSettings =
  | { by: "tpm2"; pcrs: readonly number[]; ekIssuers?: Buffer }
  | { by: "azure-cvm"; pcrs: readonly number[]; endorsements?: string }
  | { by: "configfs-tsm"; endorsements?: string }
  | { by: "aws-nitro"; program?: string }
  | { by: "soft"; issuerFile: string };

export const hardwareSettings = {
  AGENTKEYS_TEE_TPM: optional(
    "where the TPM is: device:PATH, unix:PATH, tcp:HOST:PORT or none (device:/dev/tpmrm0)",
    tpmAddress,
    { device: "/dev/tpmrm0" },
  ),
  AGENTKEYS_TEE_ROOT_KEY: optional("where the root key is", oneOf("memory", "tpm"), "memory" as const),
  AGENTKEYS_TEE_SEALER: optional("what seals the master secret", oneOf("tpm2", "aws-kms"), "tpm2" as const),
  AGENTKEYS_TEE_SEAL_PCRS: optional(
    "the PCRs that the master secret is sealed to, by commas; or else a release key",
    list(pcr),
    undefined,
  ),
  AGENTKEYS_TEE_RELEASE_KEY: optional(
    "PEM file of the key whose releases open the master secret",
    publicKey,
    undefined,
  ),
  AGENTKEYS_TEE_NEXT_RELEASE_KEY: optional(
    "PEM file of the key that the master secret is sealed for anew",
    publicKey,
    undefined,
  ),
  AGENTKEYS_TEE_APPROVALS: optional("file with the approvals of these keys", approvals, undefined),
  AGENTKEYS_TEE_KMS_KEY: optional("ARN of the key of AWS KMS that seals", kmsKey, undefined),
  AGENTKEYS_TEE_EVIDENCE: optional(
    "what vouches for the worker",
    oneOf("tpm2", "azure-cvm", "configfs-tsm", "aws-nitro", "soft"),
    "tpm2" as const,
  ),
  AGENTKEYS_TEE_QUOTED_PCRS: optional("the PCRs that the evidence is about", list(pcr), undefined),
  AGENTKEYS_TEE_EK_ISSUERS: optional("PEM file of the certificates above the TPM's own", certificates, undefined),
  AGENTKEYS_TEE_ENDORSEMENTS: optional(
    "file, kept fresh, of what verifiers need besides: certificates (PEM), or collateral for TDX (JSON)",
    absolutePath,
    undefined,
  ),
  AGENTKEYS_TEE_ATTEST_PROGRAM: optional(
    "the program that gives Nitro's documents, where no NitroTPM does",
    absolutePath,
    undefined,
  ),
  AGENTKEYS_TEE_SOFT_SIGNER: optional("DEV ONLY: the issuer's file of soft evidence", text, undefined),
} satisfies Record<string, Setting<unknown>>;

type Read = { [K in keyof typeof hardwareSettings]: (typeof hardwareSettings)[K] extends Setting<infer T> ? T : never };

/** Puts them together, and adds a line to `problems` for each combination that means nothing. */
export function readHardwareSettings(
  values: Read,
  { production, problems }: { production: boolean; problems: string[] },
): HardwareSettings {
  const tpm = values.AGENTKEYS_TEE_TPM;
  const rootKey = values.AGENTKEYS_TEE_ROOT_KEY;
  const sealer = values.AGENTKEYS_TEE_SEALER;
  const kind = values.AGENTKEYS_TEE_EVIDENCE;
  const refuse = (refused: boolean, why: string): void => {
    if (refused) problems.push(why);
  };
  if (tpm === "none") {
    const needing = "but AGENTKEYS_TEE_TPM is none";
    refuse(sealer === "tpm2", `AGENTKEYS_TEE_SEALER is tpm2, ${needing}: without a TPM only aws-kms can seal`);
    refuse(kind === "tpm2" || kind === "azure-cvm", `AGENTKEYS_TEE_EVIDENCE is ${kind}, which a TPM gives, ${needing}`);
  }
  refuse(
    rootKey === "tpm" && sealer !== "tpm2",
    "AGENTKEYS_TEE_ROOT_KEY is tpm: then AGENTKEYS_TEE_SEALER must be tpm2, since the key never leaves the TPM",
  );
  refuse(
    sealer === "aws-kms" && (kind === "azure-cvm" || kind === "soft"),
    `AGENTKEYS_TEE_SEALER is aws-kms, which answers documents of AWS's hypervisor only, and not a machine whose evidence is ${kind}`,
  );
  const givesDocuments = sealer === "aws-kms" || kind === "aws-nitro";
  const belongs: [keyof Read, boolean, string][] = [
    ["AGENTKEYS_TEE_SEAL_PCRS", sealer === "tpm2", "AGENTKEYS_TEE_SEALER is tpm2"],
    ["AGENTKEYS_TEE_RELEASE_KEY", sealer === "tpm2", "AGENTKEYS_TEE_SEALER is tpm2"],
    ["AGENTKEYS_TEE_NEXT_RELEASE_KEY", sealer === "tpm2", "AGENTKEYS_TEE_SEALER is tpm2"],
    ["AGENTKEYS_TEE_KMS_KEY", sealer === "aws-kms", "AGENTKEYS_TEE_SEALER is aws-kms"],
    [
      "AGENTKEYS_TEE_ATTEST_PROGRAM",
      givesDocuments,
      "AGENTKEYS_TEE_SEALER is aws-kms or AGENTKEYS_TEE_EVIDENCE is aws-nitro",
    ],
    [
      "AGENTKEYS_TEE_QUOTED_PCRS",
      kind === "tpm2" || kind === "azure-cvm",
      "AGENTKEYS_TEE_EVIDENCE is tpm2 or azure-cvm",
    ],
    ["AGENTKEYS_TEE_EK_ISSUERS", kind === "tpm2", "AGENTKEYS_TEE_EVIDENCE is tpm2"],
    [
      "AGENTKEYS_TEE_ENDORSEMENTS",
      kind === "azure-cvm" || kind === "configfs-tsm",
      "AGENTKEYS_TEE_EVIDENCE is azure-cvm or configfs-tsm",
    ],
    ["AGENTKEYS_TEE_SOFT_SIGNER", kind === "soft", "AGENTKEYS_TEE_EVIDENCE is soft"],
  ];
  for (const [name, fits, where] of belongs) {
    refuse(values[name] !== undefined && !fits, `${name} is of use only where ${where}`);
  }
  refuse(
    kind === "soft" && production,
    "AGENTKEYS_TEE_EVIDENCE is soft, which vouches for nothing: it is for development, and NODE_ENV is production",
  );
  const demanded = (name: keyof Read, needed: boolean, what: string): void =>
    refuse(needed && values[name] === undefined, `${name} must be set: ${what}`);
  demanded("AGENTKEYS_TEE_KMS_KEY", sealer === "aws-kms", "the ARN of the key that seals");
  demanded(
    "AGENTKEYS_TEE_ATTEST_PROGRAM",
    tpm === "none" && givesDocuments,
    "the program that gives the hypervisor's documents, since there is no NitroTPM to ask",
  );
  demanded("AGENTKEYS_TEE_SOFT_SIGNER", kind === "soft", "the issuer's file, which is made where there is none");

  const seal = sealOf(values, refuse);
  const quoted = values.AGENTKEYS_TEE_QUOTED_PCRS ?? pcrsOf(seal);
  refuse(
    values.AGENTKEYS_TEE_QUOTED_PCRS?.length === 0,
    "AGENTKEYS_TEE_QUOTED_PCRS names no PCR: the evidence would be about any code",
  );
  refuse(
    (kind === "tpm2" || kind === "azure-cvm") && sealer === "aws-kms" && quoted.length === 0,
    "AGENTKEYS_TEE_QUOTED_PCRS must be set: the PCRs that the evidence is about",
  );
  return { tpm, rootKey, seal, evidence: evidenceOf(values, quoted) };
}

function sealOf(values: Read, refuse: (refused: boolean, why: string) => void): SealSettings {
  if (values.AGENTKEYS_TEE_SEALER === "aws-kms") {
    const key = values.AGENTKEYS_TEE_KMS_KEY ?? { arn: "", region: "" };
    return { by: "aws-kms", key, ...programOf(values) };
  }
  const [pcrs, releaseKey, nextKey, approved] = [
    values.AGENTKEYS_TEE_SEAL_PCRS,
    values.AGENTKEYS_TEE_RELEASE_KEY,
    values.AGENTKEYS_TEE_NEXT_RELEASE_KEY,
    values.AGENTKEYS_TEE_APPROVALS,
  ];
  refuse(
    (pcrs === undefined) === (releaseKey === undefined),
    "one of AGENTKEYS_TEE_SEAL_PCRS and AGENTKEYS_TEE_RELEASE_KEY must be set, and not both: for which code the master secret opens",
  );
  refuse(
    (releaseKey === undefined && nextKey === undefined) !== (approved === undefined),
    "AGENTKEYS_TEE_RELEASE_KEY (or AGENTKEYS_TEE_NEXT_RELEASE_KEY) and AGENTKEYS_TEE_APPROVALS must be set together",
  );
  refuse(pcrs?.length === 0, "AGENTKEYS_TEE_SEAL_PCRS names no PCR: the master secret would open for any code");
  refuse(
    pcrs !== undefined && pcrs.length > 0 && pcrs.every((one) => ANYBODYS.has(one)),
    "AGENTKEYS_TEE_SEAL_PCRS names PCRs alone that any program can put back to zero: the master secret would open for any code",
  );
  refuse(
    nextKey !== undefined && releaseKey?.equals(nextKey) === true,
    "AGENTKEYS_TEE_NEXT_RELEASE_KEY is the key of AGENTKEYS_TEE_RELEASE_KEY: there is nothing to seal anew",
  );
  refuse(
    nextKey !== undefined && values.AGENTKEYS_TEE_ROOT_KEY === "tpm",
    "AGENTKEYS_TEE_NEXT_RELEASE_KEY goes with AGENTKEYS_TEE_ROOT_KEY=memory only: a root key that never leaves the TPM cannot be sealed anew",
  );
  const approvedBy = (key: KeyObject | undefined): ReleaseSeal | undefined =>
    key && { releaseKey: key, approvals: approved ?? [] };
  const [now, next] = [approvedBy(releaseKey), approvedBy(nextKey)];
  return { by: "tpm2", ...(now ?? { pcrs: pcrs ?? [] }), ...(next && { next }) };
}

function pcrsOf(seal: SealSettings): readonly number[] {
  if ("pcrs" in seal) return seal.pcrs;
  return "approvals" in seal ? [...new Set(seal.approvals.flatMap(({ pcrs }) => [...pcrs.keys()]))] : [];
}

function evidenceOf(values: Read, pcrs: readonly number[]): EvidenceSettings {
  const by = values.AGENTKEYS_TEE_EVIDENCE;
  const [ekIssuers, endorsements] = [values.AGENTKEYS_TEE_EK_ISSUERS, values.AGENTKEYS_TEE_ENDORSEMENTS];
  if (by === "tpm2") return { by, pcrs, ...(ekIssuers !== undefined && { ekIssuers }) };
  if (by === "azure-cvm") return { by, pcrs, ...(endorsements !== undefined && { endorsements }) };
  if (by === "configfs-tsm") return { by, ...(endorsements !== undefined && { endorsements }) };
  if (by === "aws-nitro") return { by, ...programOf(values) };
  return { by, issuerFile: values.AGENTKEYS_TEE_SOFT_SIGNER ?? "" };
}

function programOf({ AGENTKEYS_TEE_ATTEST_PROGRAM: program }: Read): { program?: string } {
  return program === undefined ? {} : { program };
}

function tpmAddress(value: string): TpmAddress | "none" {
  const address = value === "none" ? value : parseTpmAddress(value);
  if (address !== undefined) return address;
  throw new SettingError("must be device:/dev/tpmrm0, unix:/path/of/a/socket, tcp:host:port or none");
}

/** For debugging and for applications: the PC client's TPMs let anybody reset them. */
const ANYBODYS: ReadonlySet<number> = new Set([16, 23]);

function pcr(value: string): number {
  return integer(0, 23)(value);
}

function absolutePath(path: string): string {
  if (isAbsolute(path)) return path;
  throw new SettingError("must be an absolute path");
}

/** The key itself and no alias: an alias can be turned to another key by whoever owns the account. */
function kmsKey(arn: string): KmsKey {
  const [, region] = /^arn:aws:kms:([a-z0-9-]{1,32}):\d{12}:key\/[A-Za-z0-9-]{1,64}$/.exec(arn) ?? [];
  if (region !== undefined) return { arn, region };
  throw new SettingError("must be the ARN of a key, for example arn:aws:kms:eu-central-1:123456789012:key/…");
}

function certificates(path: string): Buffer {
  const pem = fileContents(path);
  const blocks = pem.toString("latin1").match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
  try {
    if (blocks !== null && blocks.every((block) => new X509Certificate(block).raw.length > 0)) return pem;
  } catch {
    // Told below.
  }
  throw new SettingError(`names a file that holds no certificates in PEM: ${path}`);
}

function publicKey(path: string): KeyObject {
  const pem = fileContents(path);
  try {
    return createPublicKey(pem);
  } catch {
    throw new SettingError(`names a file that holds no public key in PEM: ${path}`);
  }
}

function approvals(path: string): readonly Approval[] {
  const file = fileContents(path).toString("utf8");
  try {
    return parseApprovals(file);
  } catch (error) {
    throw new SettingError(`names a file that holds no approvals: ${error instanceof Error ? error.message : path}`);
  }
}
