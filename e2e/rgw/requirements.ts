import { findChromium } from "../harness/chromium.ts";
import { HOW_TO_INSTALL, rgwIsInstalled } from "./start.ts";

/**
 * What this machine lacks for the tests with Ceph, or `undefined`. In continuous integration nothing may be lacking: there it
 * throws, so that the proof cannot be skipped unnoticed.
 */
export function missingForRgw(env: NodeJS.ProcessEnv): string | undefined {
  const missing = [
    ...(rgwIsInstalled() ? [] : [`radosgw is not installed: ${HOW_TO_INSTALL}`]),
    ...(findChromium() === undefined ? ["chromium is not installed: apt-get install chromium"] : []),
  ].join("; ");
  if (missing === "") return undefined;
  if (env["CI"] === "true") throw new Error(`CI must run the tests with Ceph: ${missing}`);
  return missing;
}

/** Says on the terminal that a suite is skipped, and why: a skipped proof must not look like one. */
export function announceSkip(missing: string | undefined): boolean {
  if (missing !== undefined) process.stderr.write(`\nSKIPPED, the tests with Ceph's STS and S3: ${missing}\n\n`);
  return missing !== undefined;
}
