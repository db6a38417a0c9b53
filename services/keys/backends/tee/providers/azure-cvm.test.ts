import { createHash, X509Certificate } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import { once } from "node:events";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { HCL_NV_INDEX } from "@agentkeys/lib/evidence/azure-cvm/hcl";
import { type AzurePins, azureVerifier } from "@agentkeys/lib/evidence/azure-cvm/verify";
import { createSnpExample } from "@agentkeys/lib/evidence/testing/sev-snp-example";
import { createTdxExample } from "@agentkeys/lib/evidence/testing/tdx-example";
import { publicKeyOf, type Tpm } from "@agentkeys/lib/tpm2";
import { hasSwtpm } from "@agentkeys/lib/tpm2/testing/swtpm";
import { keepAttestationKey, writeNv } from "@agentkeys/lib/tpm2/testing/vtpm";

import { CODE_PCR, pcrAfter, startTpmMachine, type TpmMachine } from "../testing/tpm-machine.ts";
import { type AzureHost, azureCvmProvider, azureHost } from "./azure-cvm.ts";

const reportData = Buffer.alloc(32, 2);
const at = new Date();
const asked = { nonce: Buffer.alloc(32, 1), reportData, at };

describe.skipIf(!hasSwtpm("services/keys/backends/tee/providers/azure-cvm", process.env))(
  "a confidential VM of Azure",
  () => {
    let machine: TpmMachine;
    let tpm: Tpm;
    beforeEach(async () => {
      machine = await startTpmMachine();
      tpm = await machine.power("v1");
    });
    afterEach(() => machine.stop());

    /** Plays the paravisor: a key, claims that name it, and a report of the hardware over the claims. */
    const prepare = async (
      hardware: "sev-snp" | "tdx",
    ): Promise<{ pins: AzurePins; host: AzureHost; collateral: Buffer }> => {
      const key = publicKeyOf(await tpm.use((t) => keepAttestationKey(t, 0x81000003)));
      const { n, e } = key.export({ format: "jwk" });
      const claims = Buffer.from(
        JSON.stringify({ keys: [{ kid: "HCLAkPub", kty: "RSA", n, e }], "vm-configuration": { vmUniqueId: "vm-1" } }),
      );
      const digest = createHash("sha256").update(claims).digest();
      const snp = createSnpExample(at, digest);
      const tdx = createTdxExample(at, digest);
      const report = hardware === "sev-snp" ? snp.report() : Buffer.alloc(1184, 0x81);
      await tpm.use((t) => writeNv(t, HCL_NV_INDEX, hclReport(hardware, report, claims)));
      return {
        pins: {
          silicon: hardware === "sev-snp" ? { type: hardware, pins: snp.pins } : { type: hardware, pins: tdx.pins },
          code: [{ name: `pcr${CODE_PCR}`, values: [pcrAfter("v1").toString("hex")] }],
          identity: [{ name: "vm_id", values: ["vm-1"] }],
        },
        host: {
          quoteOf: (tdReport) => {
            expect(Buffer.from(tdReport)).toEqual(report.subarray(0, 1024));
            return Promise.resolve(tdx.quote());
          },
          processorCertificates: () => Promise.resolve(snp.certificates),
        },
        collateral: tdx.collateral(),
      };
    };

    test.each(["sev-snp", "tdx"] as const)(
      "on %s gives evidence that is verified down to its silicon",
      async (hardware) => {
        const { pins, host, collateral } = await prepare(hardware);
        const provider = azureCvmProvider({
          tpm,
          pcrs: [7, CODE_PCR],
          host,
          collateral: () => Promise.resolve(collateral),
        });
        const evidence = await provider.evidence(reportData, asked.nonce);
        const verified = azureVerifier.verify(evidence, asked, pins);
        expect(verified.identity["vm_id"]).toBe("vm-1");
        expect(() => azureVerifier.verify(evidence, { ...asked, reportData: Buffer.alloc(32) }, pins)).toThrow(
          "extraData",
        );
      },
    );

    test("asks the host again after it failed", async () => {
      const { pins, host, collateral } = await prepare("sev-snp");
      let calls = 0;
      const moody: AzureHost = {
        ...host,
        processorCertificates: () =>
          calls++ === 0 ? Promise.reject(new Error("not now")) : host.processorCertificates(),
      };
      const provider = azureCvmProvider({
        tpm,
        pcrs: [CODE_PCR],
        host: moody,
        collateral: () => Promise.resolve(collateral),
      });
      await expect(provider.evidence(reportData, asked.nonce)).rejects.toThrow("not now");
      for (let i = 0; i < 2; i++) {
        azureVerifier.verify(await provider.evidence(reportData, asked.nonce), asked, pins);
      }
      expect(calls).toBe(2);
    });

    test("is told from a machine that is none", async () => {
      const host: AzureHost = {
        quoteOf: () => Promise.reject(new Error()),
        processorCertificates: () => Promise.reject(new Error()),
      };
      const provider = azureCvmProvider({
        tpm,
        pcrs: [CODE_PCR],
        host,
        collateral: () => Promise.resolve(Buffer.alloc(0)),
      });
      await expect(provider.evidence(reportData, asked.nonce)).rejects.toThrow("no confidential VM of Azure");
    });
  },
);

test("the metadata service is asked as Azure documents it, and what it answers is read", async () => {
  const certificates = createSnpExample(at, Buffer.alloc(32)).certificates;
  const pem = (der: Uint8Array): string => new X509Certificate(der).toString();
  const asks: unknown[] = [];
  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      asks.push([request.method, request.url, request.headers["metadata"], body]);
      const [vcekCert = "", ...chain] = certificates.map(pem);
      const answers: Record<string, object> = {
        "/acc/tdquote": { quote: "AQID" },
        "/metadata/THIM/amd/certification": { vcekCert, certificateChain: chain.join(""), tcbm: "DB18" },
      };
      const answer = answers[request.url ?? ""];
      response.writeHead(answer ? 200 : 404).end(JSON.stringify(answer));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  try {
    const service = `http://127.0.0.1:${address.port}`;
    const host = azureHost({ fetch, service });
    expect(Buffer.from(await host.quoteOf(Buffer.from([0xfb, 0xff])))).toEqual(Buffer.from([1, 2, 3]));
    expect((await host.processorCertificates()).map((der) => Buffer.from(der))).toEqual(certificates);
    expect(asks).toEqual([
      ["POST", "/acc/tdquote", undefined, '{"report":"-_8"}'],
      ["GET", "/metadata/THIM/amd/certification", "true", ""],
    ]);
    await expect(azureHost({ fetch, service: `${service}/elsewhere` }).processorCertificates()).rejects.toThrow(
      "answers 404",
    );
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

/** What the paravisor writes: a header, the hardware's report, the request's header and the claims. */
function hclReport(hardware: "sev-snp" | "tdx", report: Buffer, claims: Buffer): Buffer {
  const header = Buffer.alloc(32);
  header.write("HCLA", "latin1");
  const request = Buffer.alloc(20);
  request.writeUInt32LE(hardware === "sev-snp" ? 2 : 4, 8);
  request.writeUInt32LE(1, 12);
  request.writeUInt32LE(claims.length, 16);
  return Buffer.concat([header, report, request, claims, Buffer.alloc(100)]);
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}
