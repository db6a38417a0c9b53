import { systemRandom } from "../../random.ts";
import type { TdxPins } from "../tdx/verify.ts";
import { readCertificate } from "../x509.ts";
import {
  type CollateralClaims,
  createTdxPlatform,
  issueCollateral,
  issueQuote,
  type ProcessorClaims,
  type QuoteClaims,
  type QuoteForgery,
  type TdxPlatform,
} from "./tdx.ts";

const fill = (length: number, value: number): Buffer => Buffer.alloc(length, value);
const sixteen = (value: number): number[] => Array.from({ length: 16 }, () => value);

/** A platform in good order, a guest on it, and what would be pinned of both: a test changes what it is about. */
export interface TdxExample {
  platform: TdxPlatform;
  processor: ProcessorClaims;
  claims: QuoteClaims;
  published: CollateralClaims;
  pins: TdxPins;
  quote: (changes?: Partial<QuoteClaims>, forgery?: QuoteForgery, by?: TdxPlatform) => Buffer;
  collateral: (changes?: Partial<CollateralClaims>, by?: TdxPlatform) => Buffer;
}

/** The guest's report data is `reportData` and 32 zeros. */
export function createTdxExample(at: Date, reportData: Buffer): TdxExample {
  const days = (n: number): Date => new Date(at.getTime() + n * 864e5);
  const processor: ProcessorClaims = {
    ppid: fill(16, 1),
    fmspc: fill(6, 0xc0),
    pceId: fill(2, 0),
    componentSvns: sixteen(5),
    pceSvn: 11,
  };
  const validity = { notBefore: days(-100), notAfter: days(100) };
  const platform = createTdxPlatform(processor, { random: systemRandom, validity });
  const claims: QuoteClaims = {
    form: "4",
    teeTcbSvn: Buffer.concat([Buffer.of(4, 1, 5), fill(13, 0)]),
    attributes: 0x10000000n,
    mrtd: fill(48, 3),
    mrConfigId: fill(48, 0),
    rtmrs: [fill(48, 0x10), fill(48, 0x11), fill(48, 0x12), fill(48, 0)],
    reportData: Buffer.concat([reportData, fill(32, 0)]),
    qe: {
      attributes: Buffer.concat([Buffer.of(0x11), fill(15, 0)]),
      mrSigner: fill(32, 0xdc),
      isvProdId: 2,
      isvSvn: 4,
    },
    padding: 100,
  };
  const upToDate = { status: "UpToDate", advisories: [] } as const;
  const published: CollateralClaims = {
    notBefore: days(-5),
    notAfter: days(25),
    fmspc: processor.fmspc,
    pceId: processor.pceId,
    evaluation: 17,
    levels: [
      { sgxComponents: sixteen(5), tdxComponents: [9, 9, 5, ...fill(13, 0)], pceSvn: 11, ...upToDate },
      {
        sgxComponents: sixteen(1),
        tdxComponents: sixteen(0),
        pceSvn: 5,
        status: "OutOfDate",
        advisories: ["INTEL-SA-00001", "INTEL-SA-00002"],
      },
    ],
    modules: {
      TDX_03: [{ isvSvn: 3, ...upToDate }],
      TDX_01: [
        { isvSvn: 4, ...upToDate },
        { isvSvn: 2, status: "OutOfDate", advisories: ["INTEL-SA-00003"] },
      ],
    },
    qe: { mrSigner: claims.qe.mrSigner, isvProdId: 2, levels: [{ isvSvn: 4, ...upToDate }] },
    revokedProcessors: ["0a", "0b"],
    revokedAuthorities: [],
  };
  return {
    platform,
    processor,
    claims,
    published,
    pins: {
      roots: [readCertificate(platform.root.der).fingerprint],
      mrtd: ["03".repeat(48)],
      rtmrs: [
        { name: "rtmr1", values: ["11".repeat(48)] },
        { name: "rtmr2", values: ["12".repeat(48)] },
      ],
      identity: [{ name: "ppid", values: ["01".repeat(16)] }],
      tcbStatuses: ["UpToDate"],
      advisoriesAllowed: [],
      minTcbEvaluation: 17,
    },
    quote: (changes = {}, forgery = {}, by = platform) => issueQuote(by, { ...claims, ...changes }, forgery),
    collateral: (changes = {}, by = platform) =>
      Buffer.from(JSON.stringify(issueCollateral(by, { ...published, ...changes }))),
  };
}
