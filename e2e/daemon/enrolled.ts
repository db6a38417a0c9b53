import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { GetCallerIdentityCommand, STSClient, type STSClientConfig } from "@aws-sdk/client-sts";

import { startLocalAws, type LocalAws } from "../local-aws/start.ts";
import { createMachine, type Machine, type SignIn } from "../harness/machine.ts";
import { plainBrowser } from "../harness/plain-browser.ts";
import { startSystem, type System } from "../harness/system.ts";
import { prepareVault, type Vault } from "../harness/vault.ts";
import { bundleProgram, type Program, startProgram } from "./program.ts";

/** A machine on which Ada has signed in, with the services and an STS that it works with. */
export interface Enrolled {
  system: System;
  aws: LocalAws;
  vault: Vault;
  machine: Machine;
  signedIn: SignIn;
  /** A folder to play in; it is the program's home too. */
  home: string;
  /** The bundled program. */
  file: string;
  /** Signs in once more. */
  signIn(): Promise<SignIn>;
  /** Runs the program as a process of its own; it is killed at the end if it still runs. */
  start(args: readonly string[], o?: { nodeArgs?: readonly string[]; env?: Record<string, string> }): Program;
  /** The ARN of the session that these credentials are of, as STS says. */
  callerOf(credentials: STSClientConfig["credentials"]): Promise<string>;
  /** What that should be. */
  ownArn: string;
  close(): Promise<void>;
}

export async function startEnrolled(o: { masterSecret?: string } = {}): Promise<Enrolled> {
  const home = mkdtempSync(join(tmpdir(), "agentkeys-enrolled-"));
  const [system, aws, file] = await Promise.all([
    startSystem(o),
    startLocalAws({}),
    bundleProgram(join(home, "program")),
  ]);
  const vault = await prepareVault({ ...aws, dialect: "aws" }, system.broker.publicUrl);
  const machine = createMachine({
    system,
    env: {
      AGENTKEYS_AWS_ROLE_ARN: vault.roleArn,
      AGENTKEYS_LISTEN: "127.0.0.1:0",
      AWS_ENDPOINT_URL_STS: aws.url,
      AWS_REGION: "us-east-1",
    },
  });
  const signIn = (): Promise<SignIn> => machine.signIn("ada@example.com", plainBrowser());
  const signedIn = await signIn();
  const programs: Program[] = [];
  return {
    ...{ system, aws, vault, machine, signedIn, home, file, signIn },
    start(args, { nodeArgs = [], env = {} } = {}) {
      const program = startProgram([...nodeArgs, file, ...args], {
        env: { HOME: home, ...machine.env, ...env },
        cwd: home,
      });
      programs.push(program);
      return program;
    },
    async callerOf(credentials) {
      const sts = new STSClient({ endpoint: aws.url, region: "us-east-1", ...(credentials && { credentials }) });
      const { Arn = "" } = await sts.send(new GetCallerIdentityCommand({}));
      sts.destroy();
      return Arn;
    },
    ownArn: `arn:aws:sts::${aws.accountId}:assumed-role/agentkeys/agentkeys-${signedIn.wallet}`,
    async close() {
      for (const { process } of programs) process.kill("SIGKILL");
      await Promise.all(programs.map(({ ended }) => ended));
      machine.remove();
      rmSync(home, { recursive: true, force: true });
      await Promise.all([system.close(), aws.close()]);
    },
  };
}
