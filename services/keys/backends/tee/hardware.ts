import { X509Certificate } from "node:crypto";

import type { RandomBytes } from "@agentkeys/lib/random";
import { getRandom, openTpm, startup, type Tpm } from "@agentkeys/lib/tpm2";

import type { TeeSettings } from "../../settings-tee.ts";
import type { Counters } from "./genesis.ts";
import { nvCounter, nvCounters } from "./nv.ts";
import type { EvidenceProvider } from "./provider.ts";
import { tpm2Provider } from "./providers/tpm2.ts";
import { exactPcrs, releaseKey, type SealPolicy } from "./seal-policy.ts";
import { sealedVault } from "./sealed-vault.ts";
import type { MonotonicCounter, RootKeyVault } from "./sealer.ts";
import { tpmHmacVault } from "./tpm-hmac-vault.ts";
import { tpm2Sealer } from "./tpm2-sealer.ts";

/** What the machine gives a worker. */
export interface Hardware {
  vault: RootKeyVault;
  counters: Counters;
  /** The sign log's own. */
  logCounter: MonotonicCounter;
  provider: EvidenceProvider;
  close(): Promise<void>;
}

/** Beside those of `nv.ts`. */
const NV_LOG = 0x01800a12;

/** Connects to the TPM of the settings. @throws TpmChannelError where there is none */
export async function openHardware(settings: TeeSettings, { random }: { random: RandomBytes }): Promise<Hardware> {
  const tpm = await openTpm(settings.tpm, { random });
  try {
    await tpm.use(startup);
    return {
      vault: vaultOf(settings, tpm, random),
      counters: nvCounters(tpm),
      logCounter: nvCounter(tpm, NV_LOG),
      provider: tpm2Provider({ tpm, pcrs: settings.quotedPcrs, issuers: certificatesIn(settings.ekIssuers) }),
      close: () => tpm.close(),
    };
  } catch (error) {
    await tpm.close();
    throw error;
  }
}

function vaultOf({ seal, rootKey }: TeeSettings, tpm: Tpm, random: RandomBytes): RootKeyVault {
  const policy: SealPolicy = "pcrs" in seal ? exactPcrs(seal.pcrs) : releaseKey(seal.releaseKey, seal.approvals);
  if (rootKey === "tpm") return tpmHmacVault({ tpm, policy });
  const hardwareRandom = (length: number): Promise<Uint8Array> => tpm.use((t) => getRandom(t, length));
  return sealedVault({ sealer: tpm2Sealer({ tpm, policy }), hardwareRandom, random });
}

function certificatesIn(pem: Buffer | undefined): Uint8Array[] {
  const blocks = pem?.toString("latin1").match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block).raw);
}
