import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { type Evidence, type EvidenceType, mediaTypes } from "@agentkeys/lib/evidence/evidence";
import { fullReportData } from "@agentkeys/lib/evidence/pins";
import { randomId, type RandomBytes } from "@agentkeys/lib/random";

import type { EvidenceProvider } from "../provider.ts";
import { certificateTable } from "./certificate-table.ts";

/** The kernel's file system of reports: what tests replace. */
export interface TsmFiles {
  mkdir(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  write(path: string, contents: Uint8Array): Promise<void>;
  read(path: string): Promise<Buffer>;
}

const systemTsmFiles: TsmFiles = {
  mkdir: async (path) => {
    await mkdir(path);
  },
  rmdir,
  write: (path, contents) => writeFile(path, contents, { flag: "r+" }),
  read: (path) => readFile(path),
};

export const TSM_ROOT = "/sys/kernel/config/tsm/report";
/** The kernel lets only root ask. Where we are not, as in the measured image, whoever started us has made this entry, and given it to us. */
const GIVEN = "agentkeys";

/** What the kernel calls the makers of reports (Documentation/ABI/testing/configfs-tsm). */
const kernelNames: Readonly<Record<TsmType, string>> = { "sev-snp": "sev_guest", tdx: "tdx_guest" };

export type TsmType = Extract<EvidenceType, "sev-snp" | "tdx">;

interface Kernel {
  random: RandomBytes;
  root?: string;
  files?: TsmFiles;
}

/** Which of the two this machine's kernel makes. @throws Error where it makes none */
export function tsmType({ random, root = TSM_ROOT, files = systemTsmFiles }: Kernel): Promise<TsmType> {
  return inEntry({ random, root, files }, async (entry) => {
    const provider = (await files.read(join(entry, "provider"))).toString().trim();
    const type = (Object.keys(kernelNames) as TsmType[]).find((each) => kernelNames[each] === provider);
    if (type === undefined) throw new Error(`the kernel's reports are made by ${provider}, which is not known here`);
    return type;
  });
}

/** In the entry that was given to us, or in one of our own that is gone afterwards. @throws Error where the kernel makes no reports */
async function inEntry<T>({ random, root, files }: Required<Kernel>, work: (entry: string) => Promise<T>): Promise<T> {
  const given = join(root, GIVEN);
  if (await isThere(files, given)) return work(given);
  const entry = join(root, `agentkeys-${randomId(random)}`);
  await files.mkdir(entry).catch((error: unknown) => {
    throw new Error("the kernel makes no reports: there is no configfs-tsm, or this is no confidential machine", {
      cause: error,
    });
  });
  try {
    return await work(entry);
  } finally {
    await files.rmdir(entry);
  }
}

async function isThere(files: TsmFiles, entry: string): Promise<boolean> {
  try {
    await files.read(join(entry, "provider"));
    return true;
  } catch {
    return false;
  }
}

/**
 * Reports of SEV-SNP and quotes of TDX through configfs-tsm (Linux 6.7 and later). Each report has an entry of its own, and its
 * `generation` says whether something else wrote there too: then the report may be over other data, and is thrown away.
 *
 * `endorsements` gives what a verifier needs besides, from files that are kept fresh: for TDX its collateral; for SEV-SNP the VCEK's
 * chain, where the host does not hand it out itself.
 */
export function configfsTsmProvider({
  type,
  endorsements,
  random,
  root = TSM_ROOT,
  files = systemTsmFiles,
}: {
  type: TsmType;
  endorsements: () => Promise<readonly Uint8Array[]>;
  random: RandomBytes;
  root?: string;
  files?: TsmFiles;
}): EvidenceProvider {
  // One at a time: an entry that was given is the only one.
  let last: Promise<unknown> = Promise.resolve();
  const alone = <T>(work: () => Promise<T>): Promise<T> => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };
  const evidenceIn = async (entry: string, reportData: Uint8Array): Promise<Evidence> => {
    const provider = (await files.read(join(entry, "provider"))).toString().trim();
    if (provider !== kernelNames[type]) {
      throw new Error(`this machine's reports are made by ${provider}, but the settings say ${type}`);
    }
    const generation = (): Promise<bigint> => readNumber(files, join(entry, "generation"));
    const before = await generation();
    await files.write(join(entry, "inblob"), fullReportData(reportData));
    const evidence = await files.read(join(entry, "outblob"));
    const auxiliary = type === "sev-snp" ? await readAuxiliary(files, join(entry, "auxblob")) : Buffer.alloc(0);
    if ((await generation()) !== before + 1n) throw new Error("something else wrote to our report while it was made");
    return {
      mediaType: mediaTypes[type],
      evidence,
      endorsements: certificateTable(auxiliary) ?? (await endorsements()),
    };
  };
  return {
    mediaType: mediaTypes[type],
    evidence: (reportData) => alone(() => inEntry({ random, root, files }, (entry) => evidenceIn(entry, reportData))),
  };
}

/** Absent with hosts that hand out no certificates. */
async function readAuxiliary(files: TsmFiles, path: string): Promise<Buffer> {
  try {
    return await files.read(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENXIO"))
      return Buffer.alloc(0);
    throw error;
  }
}

async function readNumber(files: TsmFiles, path: string): Promise<bigint> {
  const text = (await files.read(path)).toString().trim();
  if (!/^\d{1,20}$/.test(text)) throw new Error("the kernel's generation number cannot be read");
  return BigInt(text);
}
