import { AssumeRoleWithWebIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { findChromium, openChromium } from "../harness/chromium.ts";
import { type Cloud, startRgwCloud } from "../harness/cloud.ts";
import type { Confirmer } from "../harness/confirmer.ts";
import type { Tenant } from "../harness/isolation.ts";
import { createMachine, type Machine, type SignIn, succeeded } from "../harness/machine.ts";
import { startSystem, type System } from "../harness/system.ts";
import { createUndoStack } from "../harness/undo-stack.ts";
import { openS3, prepareVault, type Vault } from "../harness/vault.ts";

/** Somebody who signed in by mail, confirmed in Chromium, and has credentials by the daemon's own code. */
export interface Person {
  name: string;
  machine: Machine;
  signIn: SignIn;
  tenant: Tenant;
}

/** Ceph, the services before it, and two people. */
export interface RgwStage {
  cloud: Cloud;
  system: System;
  vault: Vault;
  browser: Confirmer;
  people: [Person, Person];
  /** Trades a JWT at Ceph's STS. Rejects with its error, which has a status and no name of AWS's. */
  assume(
    jwt: string,
    roleArn?: string,
  ): Promise<{ accessKeyId: string; secretAccessKey: string; sessionToken: string }>;
  /** `agentkeys token` */
  tokenOf(machine: Machine, ...argv: string[]): Promise<string>;
  close(): Promise<void>;
}

export async function startRgwStage(): Promise<RgwStage> {
  const undo = createUndoStack();
  try {
    const scratch = mkdtempSync(join(tmpdir(), "agentkeys-rgw-"));
    undo.add(() => rmSync(scratch, { recursive: true, force: true }));
    const cloud = await startRgwCloud(scratch);
    undo.add(() => cloud.close());
    const browser = await openChromium(findChromium() ?? "", { home: scratch });
    undo.add(() => browser.close());
    const system = await startSystem({ front: cloud.front });
    undo.add(() => system.close());
    const vault = await prepareVault(cloud, system.broker.publicUrl);
    const sts = new STSClient({ endpoint: cloud.url, region: "us-east-1", maxAttempts: 1 });
    undo.add(() => sts.destroy());

    const signIn = async (name: string): Promise<Person> => {
      const env = { AGENTKEYS_AWS_ROLE_ARN: vault.roleArn, AWS_ENDPOINT_URL_STS: cloud.url };
      const machine = createMachine({ system, env });
      undo.add(() => machine.remove());
      const signedIn = await machine.signIn(`${name.toLowerCase()}@example.com`, browser);
      const s3 = openS3(cloud.url, await machine.credentials());
      undo.add(() => s3.destroy());
      return { name, machine, signIn: signedIn, tenant: { name, wallet: signedIn.wallet, s3 } };
    };
    const people: [Person, Person] = [await signIn("Ada"), await signIn("Bob")];
    await vault.admit(people.map(({ tenant }) => tenant.wallet));

    return {
      ...{ cloud, system, vault, browser, people },
      async assume(jwt, roleArn = vault.roleArn) {
        const call = { RoleArn: roleArn, RoleSessionName: "test", WebIdentityToken: jwt };
        const { Credentials: made } = await sts.send(new AssumeRoleWithWebIdentityCommand(call));
        return {
          accessKeyId: String(made?.AccessKeyId),
          secretAccessKey: String(made?.SecretAccessKey),
          sessionToken: String(made?.SessionToken),
        };
      },
      tokenOf: async (machine, ...argv) => succeeded(await machine.agentkeys("token", ...argv)).trim(),
      close: () => undo.run(),
    };
  } catch (error) {
    await undo.run();
    throw error;
  }
}
