import { join } from "node:path";

import { type Machine, succeeded } from "./machine.ts";

/** Has a machine write down what the key service shows now, and demand that from then on. Gives the policy's file. */
export async function demandWhatIsThere(machine: Machine): Promise<string> {
  const policyFile = join(machine.folder, "..", "policy.json");
  succeeded(await machine.agentkeys("attest", "enroll", "--output", policyFile));
  machine.env["AGENTKEYS_ATTESTATION_POLICY"] = policyFile;
  return policyFile;
}
