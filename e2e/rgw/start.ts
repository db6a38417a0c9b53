import { execFile, execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";

import { freePorts } from "../harness/free-port.ts";
import { isOnPath } from "../harness/on-path.ts";
import type { AdminAccess } from "../harness/provision.ts";

const SCRIPT = join(import.meta.dirname, "run-rgw.sh");
const PROGRAMS = ["radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "monmaptool"];
const ACCOUNT = "123456789012";
/** Exit status of the script when a port was taken in the meantime. */
const PORT_TAKEN = 5;

/** What to say where it is missing. */
export const HOW_TO_INSTALL =
  "apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common (Debian, Ubuntu)";

/** Whether Ceph's RADOS Gateway and what it stands on are on the PATH. */
export function rgwIsInstalled(): boolean {
  return PROGRAMS.every((program) => isOnPath(program));
}

/**
 * Starts a whole Ceph cluster of one monitor, one memory store and one RADOS Gateway, on free loopback ports, with everything
 * it writes in `directory`, which must not exist yet. Its one endpoint serves STS, IAM and S3. Takes a second or two. It ends with
 * this process, if not before by `stopRgw`; the signal breaks the start off.
 */
export async function startRgw(o: { directory: string; signal?: AbortSignal }): Promise<AdminAccess> {
  const admin = {
    accessKeyId: randomBytes(10).toString("hex").toUpperCase(),
    secretAccessKey: randomBytes(20).toString("hex"),
  };
  for (let attempt = 1; ; attempt++) {
    const port = await freePorts();
    const env = {
      PATH: process.env["PATH"],
      RGW_ACCOUNT: ACCOUNT,
      RGW_ADMIN_KEY: admin.accessKeyId,
      RGW_ADMIN_SECRET: admin.secretAccessKey,
      RGW_PORT: String(port),
      MON_PORT: String(await freePorts(2)),
      RGW_PARENT: String(process.pid),
    };
    try {
      await promisify(execFile)("bash", [SCRIPT, "start", o.directory], { env, ...(o.signal && { signal: o.signal }) });
      return { url: `http://127.0.0.1:${port}`, accountId: ACCOUNT, admin };
    } catch (error) {
      stopRgw(o.directory);
      if ((error as { code?: unknown }).code !== PORT_TAKEN || attempt === 5) throw error;
    }
  }
}

/** Ends what was started in `directory` and removes it. Synchronous, so that it can run while the process ends. */
export function stopRgw(directory: string): void {
  execFileSync("bash", [SCRIPT, "stop", directory], { stdio: "ignore" });
}
