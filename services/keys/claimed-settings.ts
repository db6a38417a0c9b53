import type { SettingValue } from "@agentkeys/lib/evidence/claims";

import { claimedBackup, claimedCustody } from "./backends/tee/backup/plan.ts";
import { claimedHardware } from "./backends/tee/hardware.ts";
import type { BackupSettings } from "./settings-tee-backup.ts";
import type { TeeSettings } from "./settings-tee.ts";

/** What decides what is signed and for whom, and who may come to have the master secret: every caller's policy names it word for word. */
export function claimedSettings(settings: TeeSettings, { plan, owners }: BackupSettings): Record<string, SettingValue> {
  const { broker, generalMessages, insecureBroker } = settings;
  return {
    broker_issuer: broker.issuer,
    broker_url: broker.url,
    general_messages: generalMessages,
    ...claimedHardware(settings),
    ...(insecureBroker && { insecure_broker: "development" }),
    ...(plan && { backup: claimedBackup(plan) }),
    ...(owners && { custody: claimedCustody(owners) }),
  };
}
