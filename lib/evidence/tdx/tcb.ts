import { AttestationError } from "../evidence.ts";
import type { QeIdentity, TcbInfo, TcbLevel } from "./collateral.ts";
import type { PckClaims } from "./pck.ts";
import type { QeReport, TdReport } from "./quote.ts";
import { mergeTcbStatus, type TcbVerdict } from "./tcb-status.ts";

/** Judges platform, TDX module and quoting enclave together: the whole has the flaws of each. @throws AttestationError TCB */
export function judgeTcb(
  { td, qe }: { td: TdReport; qe: QeReport },
  pck: PckClaims,
  tcbInfo: TcbInfo,
  qeIdentity: QeIdentity,
): TcbVerdict {
  const verdicts = [
    verdictOf(platformLevel(td, pck, tcbInfo)),
    ...moduleVerdict(td, tcbInfo),
    verdictOf(firstReached(qeIdentity.levels, qe.isvSvn, "the quoting enclave")),
  ];
  return {
    status: mergeTcbStatus(verdicts.map(({ status }) => status)),
    advisories: [...new Set(verdicts.flatMap(({ advisories }) => advisories))].sort(),
  };
}

/** Levels stand from the newest to the oldest; a platform is at the first whose every version it has reached. */
function platformLevel({ teeTcbSvn }: TdReport, pck: PckClaims, { levels }: TcbInfo): TcbLevel {
  // From module 1.5 on, the first two components are the module's, which has levels of its own.
  const firstComponent = moduleMajor(teeTcbSvn) > 0 ? 2 : 0;
  const level = levels.find(
    ({ sgxComponents, tdxComponents, pceSvn }) =>
      sgxComponents.every((svn, index) => (pck.componentSvns[index] ?? -1) >= svn) &&
      pck.pceSvn >= pceSvn &&
      tdxComponents.every((svn, index) => index < firstComponent || (teeTcbSvn[index] ?? -1) >= svn),
  );
  if (level === undefined)
    throw new AttestationError("TCB", "TDX: the platform is older than every TCB level that Intel lists");
  return level;
}

/** The TDX module that runs has to be Intel's; from 1.5 on, it is judged as well. */
function moduleVerdict(td: TdReport, { module, moduleIdentities }: TcbInfo): TcbVerdict[] {
  const major = moduleMajor(td.teeTcbSvn);
  const id = `TDX_${major.toString(16).padStart(2, "0")}`;
  const identity = major === 0 ? { ...module, levels: [] } : moduleIdentities.get(id);
  if (identity === undefined) throw new AttestationError("TCB", `TDX: Intel lists no TDX module ${id}`);
  const masked = td.seamAttributes.map((byte, index) => byte & (identity.attributesMask[index] ?? 0xff));
  if (!td.mrSignerSeam.equals(identity.mrSigner) || !identity.attributes.equals(masked)) {
    throw new AttestationError("IDENTITY", "TDX: the TDX module is not Intel's");
  }
  return major === 0 ? [] : [verdictOf(firstReached(identity.levels, td.teeTcbSvn[0] ?? 0, "the TDX module"))];
}

function moduleMajor(teeTcbSvn: Buffer): number {
  return teeTcbSvn[1] ?? 0;
}

function firstReached<Level extends { isvSvn: number }>(levels: readonly Level[], isvSvn: number, what: string): Level {
  const level = levels.find((candidate) => candidate.isvSvn <= isvSvn);
  if (level === undefined)
    throw new AttestationError("TCB", `TDX: ${what} is older than every TCB level that Intel lists`);
  return level;
}

function verdictOf({ status, advisories }: TcbVerdict): TcbVerdict {
  return { status, advisories };
}
