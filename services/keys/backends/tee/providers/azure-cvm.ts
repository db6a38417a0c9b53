import { formatAzureEvidence } from "@agentkeys/lib/evidence/azure-cvm/azure-evidence";
import { HCL_NV_INDEX, type HclReport, readHclReport } from "@agentkeys/lib/evidence/azure-cvm/hcl";
import { mediaTypes } from "@agentkeys/lib/evidence/evidence";
import { parseSignature, quote, readNv, readPcrs, readPublic, type Tpm } from "@agentkeys/lib/tpm2";

import type { EvidenceProvider } from "../provider.ts";
import { certificatesIn } from "./kept-fresh.ts";

/** Where the paravisor keeps the attestation key that its claims name. */
const ATTESTATION_KEY_HANDLE = 0x81000003;
/** A TDREPORT_STRUCT is shorter than the place that it stands in. */
const TD_REPORT_BYTES = 1024;

/** What the host answers on its link-local address, to this machine alone. Nothing of it is believed here. */
export interface AzureHost {
  /** A quote of this machine's TDREPORT. */
  quoteOf(tdReport: Uint8Array): Promise<Uint8Array>;
  /** The certificates of the SEV-SNP processor, in DER: VCEK, ASK, ARK. */
  processorCertificates(): Promise<readonly Uint8Array[]>;
}

/**
 * A confidential VM of Azure: the vTPM's quote by the paravisor's attestation key, and the report of the hardware that vouches for
 * that key. `collateral` is what verifiers of TDX need besides, from a file that is kept fresh.
 */
export function azureCvmProvider({
  tpm,
  pcrs,
  host,
  collateral,
}: {
  tpm: Tpm;
  pcrs: readonly number[];
  host: AzureHost;
  collateral: () => Promise<Uint8Array>;
}): EvidenceProvider {
  let silicon: Promise<Silicon> | undefined;

  return {
    mediaType: mediaTypes["azure-cvm"],
    evidence: async (reportData) => {
      // The paravisor makes it once a boot. A failure is no answer: the next call asks again.
      silicon ??= readSilicon(tpm, host).catch((error: unknown) => {
        silicon = undefined;
        throw error;
      });
      const { hardware, report, runtimeClaims, certificates } = await silicon;
      const quoted = await tpm.use(async (t) => {
        const made = await quote(t, await readPublic(t, ATTESTATION_KEY_HANDLE), reportData, pcrs);
        return { attest: made.attest, signature: parseSignature(made.signature), pcrs: await readPcrs(t, pcrs) };
      });
      return {
        mediaType: mediaTypes["azure-cvm"],
        evidence: formatAzureEvidence({ hardware, report, runtimeClaims, ...quoted }),
        endorsements: hardware === "tdx" ? [await collateral()] : certificates,
      };
    },
  };
}

interface Silicon extends Pick<HclReport, "hardware" | "runtimeClaims"> {
  report: Uint8Array;
  certificates: readonly Uint8Array[];
}

async function readSilicon(tpm: Tpm, host: AzureHost): Promise<Silicon> {
  const bytes = await tpm.use((t) => readNv(t, HCL_NV_INDEX));
  if (bytes === undefined)
    throw new Error("the vTPM holds no report of Azure's paravisor: this is no confidential VM of Azure");
  const { hardware, hardwareReport, runtimeClaims } = readHclReport(bytes);
  if (hardware === "sev-snp") {
    return { hardware, runtimeClaims, report: hardwareReport, certificates: await host.processorCertificates() };
  }
  const report = await host.quoteOf(hardwareReport.subarray(0, TD_REPORT_BYTES));
  return { hardware, runtimeClaims, report, certificates: [] };
}

const METADATA_SERVICE = "http://169.254.169.254";
const ANSWER_MS = 30_000;

/** Azure's metadata service ("Azure Instance Metadata Service", "Trusted Hardware Identity Management"). */
export function azureHost({
  fetch,
  service = METADATA_SERVICE,
}: {
  fetch: typeof globalThis.fetch;
  service?: string;
}): AzureHost {
  async function ask(path: string, request: RequestInit, fields: readonly string[]): Promise<string[]> {
    const answer = await fetch(service + path, {
      ...request,
      redirect: "error",
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (!answer.ok) throw new Error(`Azure's metadata service answers ${answer.status} to ${path}`);
    const body = (await answer.json()) as Record<string, unknown> | null;
    return fields.map((name) => {
      const value = body?.[name];
      if (typeof value !== "string") throw new Error(`Azure's metadata service answers ${path} without ${name}`);
      return value;
    });
  }

  return {
    quoteOf: async (tdReport) => {
      const body = JSON.stringify({ report: Buffer.from(tdReport).toString("base64url") });
      const headers = { "content-type": "application/json" };
      const [made = ""] = await ask("/acc/tdquote", { method: "POST", headers, body }, ["quote"]);
      return Buffer.from(made, "base64url");
    },
    processorCertificates: async () => {
      const headers = { metadata: "true" };
      const pem = await ask("/metadata/THIM/amd/certification", { headers }, ["vcekCert", "certificateChain"]);
      return certificatesIn(pem.join("\n"));
    },
  };
}
