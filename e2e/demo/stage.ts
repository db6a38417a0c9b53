import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { findChromium, openChromium } from "../harness/chromium.ts";
import { type Cloud, killRgwCloud, startLocalCloud, startRgwCloud } from "../harness/cloud.ts";
import type { Confirmer } from "../harness/confirmer.ts";
import { plainBrowser } from "../harness/plain-browser.ts";
import { hasSwtpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { startSystem, type System } from "../harness/system.ts";
import { HOW_TO_INSTALL_SWTPM } from "../harness/tee-keys.ts";
import type { UndoStack } from "../harness/undo-stack.ts";
import { prepareVault, type Vault } from "../harness/vault.ts";
import { STAND_IN_NOTICE } from "../local-aws/start.ts";
import { HOW_TO_INSTALL, rgwIsInstalled } from "../rgw/start.ts";
import type { Narrator } from "./narrator.ts";

/** Which STS and S3 to use. */
export type CloudChoice = "rgw" | "local" | "auto";

/** Everything that the demonstration plays on. */
export interface Stage {
  cloud: Cloud;
  system: System;
  vault: Vault;
  browser: Confirmer;
  /** A folder for whatever is kept for a while. */
  scratch: string;
}

/** Starts it all on free loopback ports; whatever was started is handed to `undo` at once. */
export async function setStage(
  choice: CloudChoice,
  undo: UndoStack,
  tell: Narrator,
  { tee }: { tee: boolean },
): Promise<Stage> {
  if (tee && !hasSwtpm("npm run demo -- --tee", {})) throw new Error(`--tee needs swtpm: ${HOW_TO_INSTALL_SWTPM}`);
  const scratch = mkdtempSync(join(tmpdir(), "agentkeys-demo-"));
  const removeScratch = (): void => rmSync(scratch, { recursive: true, force: true });
  undo.add(removeScratch, removeScratch);

  const [cloud, browser] = await Promise.all([openCloud(choice, scratch, undo), openBrowser(scratch, undo)]);
  const isCeph = cloud.dialect === "rgw";
  tell.step("STS and S3", isCeph ? "Ceph RADOS Gateway" : STAND_IN_NOTICE);
  tell.detail(cloud.url);
  if (choice === "auto" && !isCeph) tell.detail(`for an independent one: ${HOW_TO_INSTALL}`);
  const system = await startSystem({ front: cloud.front, scratch, ...(tee && { tee: {} }) });
  undo.add(() => system.close());
  const { broker, keys } = system;
  tell.step("broker", "signs people in and vouches for wallets; holds no wallet key");
  tell.detail(
    isCeph ? `${broker.url}, behind ${broker.publicUrl}, which puts its keys as Ceph wants them` : broker.url,
  );
  tell.step(
    "key service",
    `derives wallets and signs for their owners; ${tee ? "the TEE worker, on a software TPM" : "the development backend"}`,
  );
  tell.detail(keys.url);
  tell.step("mail server", `takes the broker's mail: ${system.smtpUrl}`);
  tell.step("browser", browser.name);

  const vault = await prepareVault(cloud, broker.publicUrl);
  tell.step("AWS account", `trusts the broker; role ${vault.roleArn}`);
  tell.detail(`its policy: each wallet its own place in the bucket ${vault.bucket}, bots/<wallet>/`);
  return { cloud, system, vault, browser, scratch };
}

/** What is being started is given to `undo` before it is there: it must not outlive us when we are told to end meanwhile. */
async function openCloud(choice: CloudChoice, scratch: string, undo: UndoStack): Promise<Cloud> {
  const installed = rgwIsInstalled();
  if (choice === "rgw" && !installed) throw new Error(`--aws rgw needs radosgw: ${HOW_TO_INSTALL}`);
  const isCeph = choice !== "local" && installed;
  const giveUp = new AbortController();
  const starting = isCeph ? startRgwCloud(scratch, giveUp.signal) : startLocalCloud();
  undo.add(
    async () => {
      giveUp.abort();
      const cloud = await starting.catch(() => undefined);
      await cloud?.close();
    },
    () => isCeph && killRgwCloud(scratch),
  );
  return starting;
}

async function openBrowser(scratch: string, undo: UndoStack): Promise<Confirmer> {
  const path = findChromium();
  const browser = path === undefined ? plainBrowser() : await openChromium(path, { home: scratch });
  undo.add(() => browser.close());
  return browser;
}
