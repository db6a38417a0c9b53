import { PolicyRefused } from "@agentkeys/lib/attested/policy-refused";
import { SettingsError } from "@agentkeys/lib/settings";

import {
  type BackupPlan,
  type CustodyOwner,
  readBackupPlan,
  readCustody,
  type SettingsFile,
} from "./backends/tee/backup/plan.ts";

/** What the two files say; nothing where none is named. */
export interface BackupSettings {
  /** Whom this worker's master secret is backed up to. */
  plan?: BackupPlan;
  /** Whose shares this worker keeps. */
  owners?: readonly CustodyOwner[];
}

/** Reads the files that the settings name, and the measurements that those name. @throws SettingsError with a line for each mistake */
export async function readBackupSettings({
  backup,
  custody,
}: {
  backup?: SettingsFile;
  custody?: SettingsFile;
}): Promise<BackupSettings> {
  const problems: string[] = [];
  const read = async <T>(name: string, file: SettingsFile | undefined, parse: (file: SettingsFile) => Promise<T>) => {
    try {
      return file && (await parse(file));
    } catch (error) {
      if (!(error instanceof PolicyRefused)) throw error;
      problems.push(`${name} names a file that cannot be used: ${error.message}`);
      return undefined;
    }
  };
  const plan = await read("AGENTKEYS_TEE_BACKUP", backup, readBackupPlan);
  const owners = await read("AGENTKEYS_TEE_CUSTODY", custody, readCustody);
  if (problems.length > 0) throw new SettingsError(problems);
  return { ...(plan && { plan }), ...(owners && { owners }) };
}
