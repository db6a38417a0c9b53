/** A process that claims a folder, says so in a line, and stays: `claim-until-killed.ts <folder>`. */
import { systemRandom } from "@agentkeys/lib/random";

import { claimFolder } from "../folder-claim.ts";

await claimFolder(process.argv[2] ?? "", systemRandom);
process.stdout.write("claimed\n");
setInterval(() => undefined, 60_000);
