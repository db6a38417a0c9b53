import { verify } from "node:crypto";

import { readPem, verifyChain } from "../chain.ts";
import { readRevocations, type RevokedSerials } from "../crl.ts";
import { AttestationError, type NonEmpty } from "../evidence.ts";
import { Json } from "../json.ts";
import type { Certificate } from "../x509.ts";
import { SGX_EXTENSIONS } from "./pck.ts";
import { readTcbStatus, type TcbVerdict } from "./tcb-status.ts";

/** What Intel publishes about platforms and enclaves, verified. */
export interface Collateral {
  tcbInfo: TcbInfo;
  qeIdentity: QeIdentity;
  revokedProcessors: RevokedSerials;
  revokedAuthorities: RevokedSerials;
}

export interface TcbInfo {
  fmspc: Buffer;
  pceId: Buffer;
  evaluation: number;
  module: ModuleIdentity;
  /** By id: `TDX_01`, `TDX_03` … with lower-case hex. */
  moduleIdentities: ReadonlyMap<string, ModuleIdentity & { levels: readonly SvnLevel[] }>;
  levels: readonly TcbLevel[];
}

export interface TcbLevel extends TcbVerdict {
  sgxComponents: readonly number[];
  tdxComponents: readonly number[];
  pceSvn: number;
}

export interface SvnLevel extends TcbVerdict {
  isvSvn: number;
}

export interface ModuleIdentity {
  mrSigner: Buffer;
  attributes: Buffer;
  attributesMask: Buffer;
}

export interface QeIdentity {
  evaluation: number;
  mrSigner: Buffer;
  isvProdId: number;
  miscSelect: Buffer;
  miscSelectMask: Buffer;
  attributes: Buffer;
  attributesMask: Buffer;
  levels: readonly SvnLevel[];
}

/** The fields of a collateral document: those of Intel's `sgx_ql_qve_collateral_t` as compact JSON; CRLs and signatures in hex. */
const fieldNames = [
  "pck_crl_issuer_chain",
  "root_ca_crl",
  "pck_crl",
  "tcb_info_issuer_chain",
  "tcb_info",
  "tcb_info_signature",
  "qe_identity_issuer_chain",
  "qe_identity",
  "qe_identity_signature",
] as const;

type Field = (typeof fieldNames)[number];

export interface CollateralRules {
  /** The certificate in the quote that the lists of revoked processors have to be about. */
  pck: Certificate;
  roots: NonEmpty<string>;
  at: Date;
}

/**
 * Reads a collateral document and verifies every part of it, under a pinned root and at a time.
 * @throws AttestationError MALFORMED, UNSUPPORTED, ROOT, SIGNATURE, STALE, REVOKED
 */
export function readCollateral(bytes: Uint8Array, { pck, roots, at }: CollateralRules): Collateral {
  const document = Json.parseCompact(bytes, "the TDX collateral").only(fieldNames);
  const text = (name: Field): string => document.field(name).text();
  const crlChain = readPem(text("pck_crl_issuer_chain"), "the PCK CRL's issuer chain");
  const [authority, root, ...more] = crlChain;
  if (authority === undefined || root === undefined || more.length > 0) {
    throw new AttestationError("MALFORMED", "the PCK CRL's issuer chain is not an authority and a root");
  }
  verifyChain([pck, ...crlChain], { roots, at, what: "the PCK CRL's issuer chain" });
  const revokedAuthorities = readRevocations(document.field("root_ca_crl").hex(), root, at);
  refuseRevoked(crlChain, revokedAuthorities);

  const signed = (name: "tcb_info" | "qe_identity"): Json => {
    const chain = readPem(text(`${name}_issuer_chain`), `the issuer chain of ${name}`);
    refuseRevoked(chain, revokedAuthorities);
    const signer = collateralSigner(chain, roots, at, name);
    return verifySigned(Buffer.from(text(name), "utf8"), document.field(`${name}_signature`).hex(64), signer, name);
  };
  return {
    tcbInfo: readTcbInfo(current(signed("tcb_info"), at, "TCB info")),
    qeIdentity: readQeIdentity(current(signed("qe_identity"), at, "QE identity")),
    revokedProcessors: readRevocations(document.field("pck_crl").hex(), authority, at),
    revokedAuthorities,
  };
}

/** @throws AttestationError REVOKED */
export function refuseRevoked(certificates: readonly Certificate[], revoked: RevokedSerials): void {
  for (const { serial, name } of certificates) {
    if (revoked.has(serial)) throw new AttestationError("REVOKED", `TDX: the certificate "${name}" was revoked`);
  }
}

/**
 * The certificate that may sign collateral. A processor's leads to the same root, and the key of a broken one may be
 * known to anybody: it must not be able to vouch for itself.
 */
function collateralSigner(chain: readonly Certificate[], roots: NonEmpty<string>, at: Date, name: string): Certificate {
  const signer = verifyChain(chain, { roots, at, what: `the issuer chain of ${name}` });
  if (chain.length !== 2 || signer.name !== "Intel SGX TCB Signing" || signer.extensions.has(SGX_EXTENSIONS)) {
    throw new AttestationError("ROOT", `TDX: "${signer.name}" may not sign ${name}`);
  }
  return signer;
}

function verifySigned(bytes: Buffer, signature: Buffer, signer: Certificate, name: string): Json {
  if (!verify("sha256", bytes, { key: signer.publicKey, dsaEncoding: "ieee-p1363" }, signature)) {
    throw new AttestationError("SIGNATURE", `TDX: the signature of ${name} is wrong`);
  }
  return Json.parse(bytes, name);
}

function current(document: Json, at: Date, what: string): Json {
  const [from, to] = [document.field("issueDate").time(), document.field("nextUpdate").time()];
  if (at >= from && at <= to) return document;
  const period = `${from.toISOString()} to ${to.toISOString()}`;
  throw new AttestationError("STALE", `TDX: the ${what} is valid from ${period} only; fetch it anew from Intel's PCS`);
}

function readTcbInfo(info: Json): TcbInfo {
  checkKind(info, { id: "TDX", version: 3 });
  if (info.field("tcbType").integer() !== 0) throw unsupported("has a TCB type that is unknown");
  return {
    fmspc: info.field("fmspc").anyHex(6),
    pceId: info.field("pceId").anyHex(2),
    evaluation: info.field("tcbEvaluationDataNumber").integer(),
    module: readModuleIdentity(info.field("tdxModule")),
    moduleIdentities: new Map(
      (info.optional("tdxModuleIdentities")?.list() ?? []).map((identity) => [
        identity
          .field("id")
          .text()
          .replace(/[0-9A-F]{2}$/, (version) => version.toLowerCase()),
        { ...readModuleIdentity(identity), levels: readSvnLevels(identity) },
      ]),
    ),
    levels: info.field("tcbLevels").list().map(readTcbLevel),
  };
}

function readModuleIdentity(identity: Json): ModuleIdentity {
  return {
    mrSigner: identity.field("mrsigner").anyHex(48),
    attributes: identity.field("attributes").anyHex(8),
    attributesMask: identity.field("attributesMask").anyHex(8),
  };
}

function readTcbLevel(level: Json): TcbLevel {
  const tcb = level.field("tcb");
  const components = (name: string): number[] => {
    const svns = tcb
      .field(name)
      .list()
      .map((component) => component.field("svn").integer());
    if (svns.length !== 16) throw new AttestationError("MALFORMED", "TDX: a TCB level has not 16 components");
    return svns;
  };
  return {
    sgxComponents: components("sgxtcbcomponents"),
    tdxComponents: components("tdxtcbcomponents"),
    pceSvn: tcb.field("pcesvn").integer(),
    ...readVerdict(level),
  };
}

function readSvnLevels(identity: Json): SvnLevel[] {
  return identity
    .field("tcbLevels")
    .list()
    .map((level) => ({ isvSvn: level.field("tcb").field("isvsvn").integer(), ...readVerdict(level) }));
}

function readVerdict(level: Json): TcbVerdict {
  return {
    status: readTcbStatus(level.field("tcbStatus").text()),
    advisories: (level.optional("advisoryIDs")?.list() ?? []).map((id) => id.text()),
  };
}

function readQeIdentity(identity: Json): QeIdentity {
  checkKind(identity, { id: "TD_QE", version: 2 });
  return {
    evaluation: identity.field("tcbEvaluationDataNumber").integer(),
    mrSigner: identity.field("mrsigner").anyHex(32),
    isvProdId: identity.field("isvprodid").integer(),
    miscSelect: identity.field("miscselect").anyHex(4),
    miscSelectMask: identity.field("miscselectMask").anyHex(4),
    attributes: identity.field("attributes").anyHex(16),
    attributesMask: identity.field("attributesMask").anyHex(16),
    levels: readSvnLevels(identity),
  };
}

function checkKind(document: Json, { id, version }: { id: string; version: number }): void {
  if (document.field("id").text() !== id) throw unsupported(`is not for ${id}`);
  if (document.field("version").integer() !== version) throw unsupported(`for ${id} is not of version ${version}`);
}

function unsupported(what: string): AttestationError {
  return new AttestationError("UNSUPPORTED", `TDX: the collateral ${what}`);
}
