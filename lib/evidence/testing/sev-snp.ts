import { type KeyObject, sign } from "node:crypto";

import type { Extension } from "../certificate.ts";
import { der, derUnsigned } from "../der-writer.ts";
import { derTag } from "../der.ts";
import type { SnpProduct, SnpTcb } from "../sev-snp/tcb.ts";

/** What a report says; the sizes are those of the report's fields. */
export interface SnpClaims {
  version: number;
  policy: bigint;
  vmpl: number;
  platformInfo: bigint;
  signedBy: "VCEK" | "VLEK";
  authorKeyEnabled: boolean;
  reportData: Buffer;
  measurement: Buffer;
  hostData: Buffer;
  idKeyDigest: Buffer;
  authorKeyDigest: Buffer;
  /** The firmware's versions as reported; also as they are, were committed, and were at the guest's launch, unless told otherwise. */
  tcb: SnpTcb;
  currentTcb?: SnpTcb;
  committedTcb?: SnpTcb;
  launchTcb?: SnpTcb;
  cpu: { family: number; model: number };
  chipId: Buffer;
}

/** Issues a report of 1184 bytes as the firmware of `product` would. `spoil` changes it before it is signed. */
export function issueSnpReport(
  claims: SnpClaims,
  product: SnpProduct,
  key: KeyObject,
  spoil: (report: Buffer) => void = () => undefined,
): Buffer {
  const report = Buffer.alloc(1184);
  report.writeUInt32LE(claims.version, 0);
  report.writeBigUInt64LE(claims.policy, 0x08);
  report.writeUInt32LE(claims.vmpl, 0x30);
  report.writeUInt32LE(1, 0x34);
  report.writeBigUInt64LE(claims.platformInfo, 0x40);
  report.writeUInt32LE((claims.signedBy === "VLEK" ? 1 << 2 : 0) | (claims.authorKeyEnabled ? 1 : 0), 0x48);
  claims.reportData.copy(report, 0x50);
  claims.measurement.copy(report, 0x90);
  claims.hostData.copy(report, 0xc0);
  claims.idKeyDigest.copy(report, 0xe0);
  claims.authorKeyDigest.copy(report, 0x110);
  tcbBytes(claims.currentTcb ?? claims.tcb, product).copy(report, 0x38);
  tcbBytes(claims.tcb, product).copy(report, 0x180);
  tcbBytes(claims.committedTcb ?? claims.tcb, product).copy(report, 0x1e0);
  tcbBytes(claims.launchTcb ?? claims.tcb, product).copy(report, 0x1f0);
  if (claims.version >= 3) {
    report.writeUInt8(claims.cpu.family, 0x188);
    report.writeUInt8(claims.cpu.model, 0x189);
  }
  claims.chipId.copy(report, 0x1a0);
  spoil(report);
  const signature = sign("sha384", report.subarray(0, 0x2a0), { key, dsaEncoding: "ieee-p1363" });
  Buffer.from(signature.subarray(0, 48)).reverse().copy(report, 0x2a0);
  Buffer.from(signature.subarray(48))
    .reverse()
    .copy(report, 0x2a0 + 72);
  return report;
}

function tcbBytes({ fmc, bootloader, tee, snp, microcode }: SnpTcb, product: SnpProduct): Buffer {
  return product === "Turin"
    ? Buffer.of(fmc, bootloader, tee, snp, 0, 0, 0, microcode)
    : Buffer.of(bootloader, tee, 0, 0, 0, 0, snp, microcode);
}

/** AMD's extensions of a VCEK (with `chipId`) or VLEK (with `cspId`) certificate. */
export function snpExtensions(
  product: string,
  tcb: SnpTcb,
  owner: { chipId: Buffer } | { cspId: string },
): readonly Extension[] {
  const extension = (oid: string, value: Buffer): Extension => ({
    oid: `1.3.6.1.4.1.3704.1.${oid}`,
    critical: false,
    value,
  });
  const text = (value: string): Buffer => der(derTag.ia5String, Buffer.from(value, "latin1"));
  return [
    extension("1", derUnsigned(product.startsWith("Turin") ? 1 : 0)),
    extension("2", text(product)),
    extension("3.1", derUnsigned(tcb.bootloader)),
    extension("3.2", derUnsigned(tcb.tee)),
    extension("3.3", derUnsigned(tcb.snp)),
    extension("3.8", derUnsigned(tcb.microcode)),
    ...(product.startsWith("Turin") ? [extension("3.9", derUnsigned(tcb.fmc))] : []),
    "chipId" in owner ? extension("4", owner.chipId) : extension("5", text(owner.cspId)),
  ];
}
