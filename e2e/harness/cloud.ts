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
  /** Ends what would outlive this process. Synchronous, for the last moment. */
  kill(): void;
}

/** Ceph's RADOS Gateway, a real and independent implementation, with all its files in a new folder under `scratch`. */
export async function startRgwCloud(scratch: string): Promise<Cloud> {
  const directory = join(scratch, "rgw");
  const kill = (): void => stopRgw(directory);
  try {
    const [rgw, front] = await Promise.all([startRgw({ directory }), startX5cProxy()]);
    return {
      ...rgw,
      dialect: "rgw",
      front,
      kill,
      async close() {
        kill();
        await front.close();
      },
    };
  } catch (error) {
    kill();
    throw error;
  }
}

/** Our own stand-in, for machines without Ceph. */
export async function startLocalCloud(): Promise<Cloud> {
  const aws = await startLocalAws({});
  return { ...aws, dialect: "aws", front: undefined, kill: () => undefined };
}
