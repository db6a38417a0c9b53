import { type Attempts, openS3, placeOf, tryPlace } from "../harness/vault.ts";
import type { Machine } from "../harness/machine.ts";
import type { Narrator } from "./narrator.ts";
import type { Stage } from "./stage.ts";

export interface Enrolled {
  name: string;
  machine: Machine;
  wallet: string;
}

/** Has everybody write, read and list in everybody's place with what `agentkeys creds` gives, and checks what came of it. */
export async function useCredentials(people: readonly Enrolled[], stage: Stage, tell: Narrator): Promise<void> {
  await stage.vault.admit(people.map(({ wallet }) => wallet));
  const rows: string[][] = [
    ["", ...people.map(({ name, wallet }) => `${name}'s, ${placeOf(`${wallet.slice(0, 8)}…`)}`)],
  ];
  const faults: string[] = [];
  for (const person of people) {
    const s3 = openS3(stage.cloud.url, await person.machine.credentials());
    const row = [person.name];
    for (const owner of people) {
      const attempts = await tryPlace(s3, stage.vault.bucket, owner.wallet);
      const expected = owner === person ? "OK" : "AccessDenied";
      if (Object.values(attempts).some((outcome) => outcome !== expected)) {
        faults.push(`${person.name} at ${owner.name}'s: ${inWords(attempts)}, expected ${expected}`);
      }
      row.push(inWords(attempts));
    }
    rows.push(row);
    s3.destroy();
  }
  tell.table(rows);
  if (faults.length > 0) throw new Error(`The isolation does not hold. ${faults.join("; ")}`);
}

/** Like outcomes said once: `put get list OK`. */
function inWords(attempts: Attempts): string {
  const outcomes = new Set(Object.values(attempts));
  return [...outcomes]
    .map((outcome) => {
      const which = Object.entries(attempts).filter(([, each]) => each === outcome);
      return `${which.map(([name]) => name).join(" ")} ${String(outcome)}`;
    })
    .join(", ");
}
