import { join } from "node:path";

import { startLocalAws } from "../local-aws/start.ts";
import { startRgw, stopRgw } from "../rgw/start.ts";
import { startX5cProxy } from "../rgw/x5c-proxy.ts";
import type { Dialect } from "./policies.ts";
import type { AdminAccess } from "./provision.ts";

/** STS, IAM and S3 behind one endpoint. */
export interface Cloud extends AdminAccess {
  dialect: Dialect;
  /** What must stand before the broker for this STS to accept its keys; the broker's public URL is then this one's. */
  front: { url: string; forwardTo(brokerUrl: string): void } | undefined;
  close(): Promise<void>;
}

/**
 * Ceph's RADOS Gateway, a real and independent implementation, with all its files in a new folder under `scratch`. The signal
 * breaks the start off; what had been started is ended then too.
 */
export async function startRgwCloud(scratch: string, signal?: AbortSignal): Promise<Cloud> {
  const directory = directoryIn(scratch);
  const front = await startX5cProxy();
  try {
    const rgw = await startRgw({ directory, ...(signal && { signal }) });
    return {
      ...rgw,
      dialect: "rgw",
      front,
      async close() {
        stopRgw(directory);
        await front.close();
      },
    };
  } catch (error) {
    await front.close();
    throw error;
  }
}

/** Ends what `startRgwCloud` started, at once. Synchronous, for the last moment of a process. */
export function killRgwCloud(scratch: string): void {
  stopRgw(directoryIn(scratch));
}

function directoryIn(scratch: string): string {
  return join(scratch, "rgw");
}

/** Our own stand-in, for machines without Ceph. */
export async function startLocalCloud(): Promise<Cloud> {
  const aws = await startLocalAws({});
  return { ...aws, dialect: "aws", front: undefined };
}
