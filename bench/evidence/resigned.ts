import { type KeyObject, sign } from "node:crypto";

import { type Cbor, decodeCbor } from "@agentkeys/lib/evidence/cbor";
import { readRevocations } from "@agentkeys/lib/evidence/crl";
import { authenticateNitro } from "@agentkeys/lib/evidence/nitro";
import { signed } from "@agentkeys/lib/evidence/certificate";
import { readDer, sequenceOf } from "@agentkeys/lib/evidence/der";
import { authenticateSnp } from "@agentkeys/lib/evidence/sev-snp/verify";
import { authenticateTdx } from "@agentkeys/lib/evidence/tdx/verify";
import { issueCrl } from "@agentkeys/lib/evidence/testing/crl";
import { createNitroExample } from "@agentkeys/lib/evidence/testing/nitro-example";
import { signCose } from "@agentkeys/lib/evidence/testing/nitro";
import { createSnpExample } from "@agentkeys/lib/evidence/testing/sev-snp-example";
import { createTdxExample } from "@agentkeys/lib/evidence/testing/tdx-example";
import { issueCollateral } from "@agentkeys/lib/evidence/testing/tdx";
import { readCertificate } from "@agentkeys/lib/evidence/x509";

import type { Case } from "./cases.ts";

/**
 * What lies behind the signatures: these cases spoil content and then sign it as the authority would, so that the readers of
 * signed content meet it too. Some of it is accepted, for it says nothing wrong.
 */
export function resignedCases(): Case[] {
  const at = new Date("2026-03-01T12:00:00Z");
  const expected = { nonce: Buffer.alloc(32, 1), reportData: Buffer.alloc(32, 2) };
  const nitro = createNitroExample(at, expected);
  const [, , payload = Buffer.alloc(0)] = decodeCbor(nitro.document()) as readonly Buffer[];
  const snp = createSnpExample(at, expected.reportData);
  const genoa = snp.platform("Genoa", { chipId: snp.claims.chipId }, snp.claims.tcb);
  const tdx = createTdxExample(at, expected.reportData);
  const published = issueCollateral(tdx.platform, tdx.published);
  const quote = tdx.quote();
  const root = readCertificate(tdx.platform.root.der);
  const { notBefore: thisUpdate, notAfter: nextUpdate } = tdx.published;
  const crl = issueCrl({ issuer: tdx.platform.root, thisUpdate, nextUpdate, revoked: ["0a", "0b"] });
  return [
    {
      name: "Nitro's payload, signed again",
      bytes: payload,
      verify: (bytes) => authenticateNitro(signCose(bytes, nitro.signer.key), { roots: nitro.pins.roots, at }),
    },
    {
      name: "SEV-SNP's report, signed again",
      bytes: snp.report().subarray(0, 0x2a0),
      verify: (bytes) =>
        authenticateSnp(snpReport(bytes, genoa.key), genoa.certificates, { roots: snp.pins.roots, at }),
    },
    ...(["tcb_info", "qe_identity"] as const).map((name) => ({
      name: `TDX's ${name}, signed again`,
      bytes: Buffer.from(published[name] ?? ""),
      verify: (bytes: Buffer) => {
        const signature = sign("sha256", bytes, { key: tdx.platform.collateralSigner.key, dsaEncoding: "ieee-p1363" });
        const fields = { ...published, [name]: bytes.toString(), [`${name}_signature`]: signature.toString("hex") };
        return authenticateTdx(quote, Buffer.from(JSON.stringify(fields)), { roots: tdx.pins.roots, at });
      },
    })),
    {
      name: "a processor's certificate, signed again",
      bytes: contentOf(tdx.platform.processor.der),
      verify: (bytes) => {
        const der = signed(bytes, tdx.platform.authority.key);
        const platform = { ...tdx.platform, processor: { ...tdx.platform.processor, der } };
        return authenticateTdx(tdx.quote({}, {}, platform), tdx.collateral(), { roots: tdx.pins.roots, at });
      },
    },
    {
      name: "a list of the revoked, signed again",
      bytes: contentOf(crl),
      verify: (bytes) => readRevocations(signed(bytes, tdx.platform.root.key), root, at),
    },
    { name: "CBOR", bytes: payload, verify: (bytes): Cbor => decodeCbor(bytes) },
    { name: "a certificate", bytes: genoa.certificates[0] ?? Buffer.alloc(0), verify: readCertificate },
  ];
}

function contentOf(certificate: Buffer): Buffer {
  return sequenceOf(readDer(certificate))[0]?.encoded ?? Buffer.alloc(0);
}

/** A report around content that may be of any length: it is cut or filled up. */
function snpReport(content: Buffer, key: KeyObject): Buffer {
  const report = Buffer.alloc(1184);
  content.copy(report, 0, 0, 0x2a0);
  const signature = sign("sha384", report.subarray(0, 0x2a0), { key, dsaEncoding: "ieee-p1363" });
  Buffer.from(signature.subarray(0, 48)).reverse().copy(report, 0x2a0);
  Buffer.from(signature.subarray(48))
    .reverse()
    .copy(report, 0x2a0 + 72);
  return report;
}
