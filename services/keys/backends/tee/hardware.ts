import { createHash } from "node:crypto";

import type { Clock } from "@agentkeys/lib/clock";
import type { SettingValue } from "@agentkeys/lib/evidence/claims";
import { keyFingerprint } from "@agentkeys/lib/evidence/release-key";
import type { Logger } from "@agentkeys/lib/log";
import type { RandomBytes } from "@agentkeys/lib/random";
import { openTpm, type Tpm, TpmChannelError } from "@agentkeys/lib/tpm2";

import type { KmsKey, SealSettings } from "../../settings-tee-hardware.ts";
import type { TeeSettings } from "../../settings-tee.ts";
import { version } from "../../version.ts";
import { BootRefused } from "./boot-decision.ts";
import { deviceRandom } from "./device-random.ts";
import type { Counters } from "./genesis.ts";
import type { Kms } from "./kms/kms-sealer.ts";
import type { NitroDocuments } from "./kms/nitro-document.ts";
import { nvCounter, nvCounters } from "./nv.ts";
import type { EvidenceProvider } from "./provider.ts";
import type { TsmFiles } from "./providers/configfs-tsm.ts";
import { certificatesIn, keptFresh } from "./providers/kept-fresh.ts";
import { tpm2Provider } from "./providers/tpm2.ts";
import { type ReleaseFloor, releaseFloor } from "./release-floor.ts";
import { exactPcrs, isReleaseKey, releaseKey } from "./seal-policy.ts";
import { type HardwareRandom, movingVault, sealedVault } from "./sealed-vault.ts";
import { type FormerVault, type MonotonicCounter, type RootKeyVault, type Sealer, UnsealRefused } from "./sealer.ts";
import { softIssuerIn } from "./soft-issuer-file.ts";
import { tpmHmacVault } from "./tpm-hmac-vault.ts";
import { tpmRandom } from "./tpm-random.ts";
import { tpm2Sealer } from "./tpm2-sealer.ts";

/** What the machine gives a worker. */
export interface Hardware {
  vault: RootKeyVault;
  /** What sealed the root key before, where it is to be sealed anew. */
  former?: FormerVault;
  /** Where a release key decides what opens the seal: which of its releases. */
  floor?: ReleaseFloor;
  counters: Counters | "none";
  /** The sign log's own. */
  logCounter: MonotonicCounter | "none";
  provider: EvidenceProvider;
  /** What a master secret is made of, beside the kernel's randomness. */
  hardwareRandom: HardwareRandom;
  close: () => Promise<void>;
}

export interface HardwareDependencies {
  random: RandomBytes;
  clock: Clock;
  log: Logger;
  /** The public key of the worker's TLS certificate, for evidence that has a place for one. */
  tlsKey: Uint8Array;
  /** What tests replace: the network's KMS, where there is no TPM the kernel's generator, and the kernel's reports. */
  kms?: (key: KmsKey) => Promise<Kms & { close(): void }>;
  withoutTpm?: HardwareRandom;
  tsmFiles?: TsmFiles;
}

/** Beside those of `nv.ts`. */
const NV_LOG = 0x01800a12;

/** Connects to what the settings name. @throws UnsealRefused where there is no TPM, BootRefused where there is something else than they say */
export async function openHardware(settings: TeeSettings, dependencies: HardwareDependencies): Promise<Hardware> {
  const { random, log } = dependencies;
  const undo: (() => void | Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    let tpm: Tpm | undefined;
    if (settings.tpm !== "none") {
      const opened = await openTpm(settings.tpm, { random }).catch((error: unknown) => {
        throw error instanceof TpmChannelError ? unreachable(error) : error;
      });
      undo.push(() => opened.close());
      tpm = opened;
    } else {
      log.warn("there is no TPM, and so no counter: only daemons notice a disk that was put back to an older state");
    }
    if (!measuresTheLoader(settings.seal)) {
      log.warn(
        "the master secret is sealed to neither PCR 4 nor PCR 7: another system that is started on this machine can put the values of this " +
          "one into the others, and open it",
      );
    }
    const hardwareRandom = tpm === undefined ? (dependencies.withoutTpm ?? deviceRandom()) : tpmRandom(tpm);
    return {
      hardwareRandom,
      ...(await vaultsOf(settings, tpm, { ...dependencies, hardwareRandom }, (step) => undo.push(step))),
      counters: tpm === undefined ? "none" : nvCounters(tpm),
      logCounter: tpm === undefined ? "none" : nvCounter(tpm, NV_LOG),
      provider: await providerOf(settings, tpm, dependencies).catch((error: unknown) => {
        throw new BootRefused("NO_EVIDENCE", messageOf(error), { cause: error });
      }),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Whether what it is sealed to holds something that the firmware measures before any system runs: the loader, or whose it must be. */
function measuresTheLoader(seal: SealSettings): boolean {
  if (seal.by === "aws-kms") return true;
  const sets = "pcrs" in seal ? [seal.pcrs] : seal.approvals.map(({ pcrs }) => [...pcrs.keys()]);
  return sets.every((pcrs) => pcrs.includes(4) || pcrs.includes(7));
}

function unreachable(cause: TpmChannelError): UnsealRefused {
  return new UnsealRefused(
    "DEVICE",
    `${cause.message}: is AGENTKEYS_TEE_TPM right, and may this user read and write there?`,
    [],
    { cause },
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "the machine gives no evidence";
}

/** Of the machine, what decides whom the master secret opens for and what is noticed: every caller's policy names it word for word. */
export function claimedHardware({ tpm, rootKey, seal }: TeeSettings): Record<string, SettingValue> {
  return {
    counters: tpm === "none" ? "none" : "tpm2",
    root_key: rootKey,
    sealed_to: sealedTo(seal),
    sealer: seal.by,
  };
}

function sealedTo(seal: SealSettings): string {
  if (seal.by === "aws-kms") return seal.key.arn;
  if (seal.next !== undefined) return `release key ${keyFingerprint(seal.next.releaseKey)}`;
  if ("pcrs" in seal) return `pcrs ${[...new Set(seal.pcrs)].sort((a, b) => a - b).join(",")}`;
  return `release key ${keyFingerprint(seal.releaseKey)}`;
}

async function vaultsOf(
  { seal, rootKey }: TeeSettings,
  tpm: Tpm | undefined,
  { random, hardwareRandom, kms = awsKms }: HardwareDependencies & { hardwareRandom: HardwareRandom },
  undo: (step: () => void) => void,
): Promise<Pick<Hardware, "vault" | "former" | "floor">> {
  const sealed = (sealer: Sealer): RootKeyVault => sealedVault({ sealer, hardwareRandom, random });
  if (seal.by === "aws-kms") {
    const [{ createKmsSealer }, { attestKeyIn }] = await Promise.all([
      import("./kms/kms-sealer.ts"),
      import("./kms/nitro-document.ts"),
    ]);
    const service = await kms(seal.key);
    undo(() => service.close());
    const attest = attestKeyIn(await nitroDocuments(seal.program, tpm));
    return { vault: sealed(createKmsSealer({ kms: service, attest, keyId: seal.key.arn, random })) };
  }
  const inTpm = needed(tpm);
  const now = "pcrs" in seal ? exactPcrs(seal.pcrs) : releaseKey(seal.releaseKey, seal.approvals);
  const next = seal.next && releaseKey(seal.next.releaseKey, seal.next.approvals);
  const policy = next ?? now;
  const releases = isReleaseKey(policy) ? { floor: releaseFloor({ tpm: inTpm, policy }) } : {};
  if (rootKey === "tpm") return { vault: tpmHmacVault({ tpm: inTpm, policy }), ...releases };
  const to = tpm2Sealer({ tpm: inTpm, policy });
  if (next === undefined) return { vault: sealed(to), ...releases };
  const from = tpm2Sealer({ tpm: inTpm, policy: now });
  return { ...movingVault({ from, to, hardwareRandom, random }), ...releases };
}

/** By the program that the settings name, or by the instance's own NitroTPM. */
async function nitroDocuments(program: string | undefined, tpm: Tpm | undefined): Promise<NitroDocuments> {
  const { documentsByProgram, documentsByTpm } = await import("./kms/nitro-document.ts");
  return program === undefined ? documentsByTpm(needed(tpm)) : documentsByProgram(program);
}

/**
 * At the region's own address, whatever the environment says: whoever answered in its place at the first start could give a data key
 * that they know. TLS goes through from here to there, also where a proxy of the instance carries it.
 */
async function awsKms({ region }: KmsKey): Promise<Kms & { close(): void }> {
  const { createAwsKms } = await import("./kms/aws-kms.ts");
  return createAwsKms({ region, endpoint: `https://kms.${region}.amazonaws.com` });
}

async function providerOf(
  { evidence, signer }: TeeSettings,
  tpm: Tpm | undefined,
  { random, clock, log, tlsKey, tsmFiles }: HardwareDependencies,
): Promise<EvidenceProvider> {
  switch (evidence.by) {
    case "tpm2": {
      const issuers = certificatesIn(evidence.ekIssuers?.toString("latin1") ?? "");
      return tpm2Provider({ tpm: needed(tpm), pcrs: evidence.pcrs, issuers });
    }
    case "azure-cvm": {
      const { azureCvmProvider, azureHost } = await import("./providers/azure-cvm.ts");
      const { collateral } = keptFresh(evidence.endorsements);
      return azureCvmProvider({ tpm: needed(tpm), pcrs: evidence.pcrs, host: azureHost({ fetch }), collateral });
    }
    case "configfs-tsm": {
      const { configfsTsmProvider, tsmType } = await import("./providers/configfs-tsm.ts");
      const kernel = { random, ...(tsmFiles && { files: tsmFiles }) };
      const type = await tsmType(kernel);
      const { certificates, collateral } = keptFresh(evidence.endorsements);
      // Without it no verifier could appraise a quote: better told at the start.
      if (type === "tdx") await collateral();
      const endorsements = type === "tdx" ? async () => [await collateral()] : certificates;
      return configfsTsmProvider({ type, endorsements, ...kernel });
    }
    case "aws-nitro": {
      const { awsNitroProvider } = await import("./providers/aws-nitro.ts");
      return awsNitroProvider({ documents: await nitroDocuments(evidence.program, tpm), publicKey: tlsKey });
    }
    case "soft": {
      const { softProvider } = await import("./providers/soft.ts");
      const issuer = await softIssuerIn(evidence.issuerFile, { clock, random });
      const root = createHash("sha256").update(issuer.certificates.at(-1) ?? new Uint8Array());
      log.warn({ root_sha256: root.digest("hex") }, "DEV ONLY: the evidence is soft, and vouches for nothing");
      return softProvider({ issuer, measurements: { version: version() }, identity: { signer }, clock });
    }
  }
}

/** The settings have made sure of it. */
function needed(tpm: Tpm | undefined): Tpm {
  if (tpm === undefined) throw new Error("the settings name no TPM");
  return tpm;
}
