import { type Collateral, QuoteVerifier } from "@phala/dcap-qvl";
import { describe, expect, test } from "vitest";

import type { NonEmpty } from "../evidence.ts";
import { sample, samplesAreHere } from "../testing/samples.ts";
import type { CollateralClaims, QuoteClaims } from "../testing/tdx.ts";
import { createTdxExample } from "../testing/tdx-example.ts";
import { readCertificate } from "../x509.ts";
import { authenticateTdx, INTEL_ROOT } from "./verify.ts";

// An independent verifier of quotes has to come to the same judgement. It is a development dependency only.

const at = new Date("2026-03-01T12:00:00Z");
const example = createTdxExample(at, Buffer.alloc(32, 2));
const { claims, published, platform, pins } = example;

const REFUSED = "refused";

function ours(quote: Buffer, collateral: Buffer, roots: NonEmpty<string> = pins.roots, time = at): unknown {
  try {
    const { status, advisories } = authenticateTdx(quote, collateral, { roots, at: time }).verdict;
    return { status, advisories };
  } catch {
    return REFUSED;
  }
}

function theirs(quote: Buffer, collateral: Buffer, verifier: QuoteVerifier, time = at): unknown {
  try {
    const document = JSON.parse(collateral.toString()) as Collateral;
    const { status, advisory_ids: advisories } = verifier.verify(quote, document, time.getTime() / 1000);
    return { status, advisories: [...advisories].sort() };
  } catch {
    return REFUSED;
  }
}

const svn = (...first: number[]): Buffer => Buffer.concat([Buffer.from(first), Buffer.alloc(16 - first.length)]);
const oldQe: Partial<CollateralClaims> = {
  qe: { ...published.qe, levels: [{ isvSvn: 1, status: "OutOfDate", advisories: ["INTEL-SA-00009"] }] },
};

// It compares a module's versions with the platform's levels, as if there were none of its own since TDX 1.5: they are as
// old as the platform's here, where the two ways are to agree.
const levels = published.levels.with(0, { ...published.levels[0]!, tdxComponents: [...svn(4, 0, 5)] });

const bothSay = (verdict: unknown, quoteChanges: Partial<QuoteClaims>, published: Partial<CollateralClaims>): void => {
  const [quote, collateral] = [example.quote(quoteChanges), example.collateral({ levels, ...published })];
  const mine = ours(quote, collateral);
  expect(mine).toEqual(verdict === REFUSED ? REFUSED : expect.objectContaining({ status: verdict }));
  expect(theirs(quote, collateral, QuoteVerifier.newWithRootCa(platform.root.der))).toEqual(mine);
};

test.each<[string, string, Partial<QuoteClaims>, Partial<CollateralClaims>]>([
  ["a platform in good order", "UpToDate", {}, {}],
  ["version 5 with a report of 1.0", "UpToDate", { form: "5/1.0" }, {}],
  ["version 5 with a report of 1.5", "UpToDate", { form: "5/1.5" }, {}],
  ["an old platform", "OutOfDate", { teeTcbSvn: svn(4, 1, 4) }, {}],
  ["a module of 1.0", "UpToDate", { teeTcbSvn: svn(4, 0, 5) }, {}],
  ["an old module of 1.0", "OutOfDate", { teeTcbSvn: svn(3, 0, 5) }, {}],
  ["an old quoting enclave", "OutOfDate", {}, oldQe],
  ["an old platform and enclave", "OutOfDate", { teeTcbSvn: svn(4, 1, 4) }, oldQe],
  ["a platform older than any", REFUSED, {}, { levels: [{ ...levels[0]!, pceSvn: 12 }] }],
  ["another platform", REFUSED, {}, { fmspc: Buffer.alloc(6, 1) }],
  ["another quoting enclave", REFUSED, { qe: { ...claims.qe, isvProdId: 1 } }, {}],
  ["a debug quoting enclave", REFUSED, { qe: { ...claims.qe, attributes: Buffer.alloc(16, 0x13) } }, {}],
  ["expired collateral", REFUSED, {}, { notAfter: new Date(at.getTime() - 864e5) }],
  ["a revoked processor", REFUSED, {}, { revokedProcessors: [readCertificate(platform.processor.der).serial] }],
])("both say of %s: %s", (_name, verdict, quoteChanges, collateralChanges) =>
  bothSay(verdict, quoteChanges, collateralChanges),
);

describe.skipIf(!samplesAreHere)("of quotes captured from Intel's processors", () => {
  test.each([
    ["phala-tdx_quote", "2025-06-20T00:00:00Z", { status: "UpToDate", advisories: [] }],
    ["phala-tdx_quote", "2025-08-20T00:00:00Z", REFUSED],
    ["phala-tdx_quote_outdated", "2026-03-01T00:00:00Z", REFUSED],
  ])("both say of %s at %s: %o", (name, time, verdict) => {
    const [quote, when] = [sample(`tdx/${name}`), new Date(time)];
    const collateral = Buffer.from(JSON.stringify(JSON.parse(sample(`tdx/${name}_collateral.json`).toString())));
    expect(ours(quote, collateral, [INTEL_ROOT], when)).toEqual(verdict);
    expect(theirs(quote, collateral, QuoteVerifier.newProd(), when)).toEqual(verdict);
  });
});
