import { EventEmitter } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";

import { run } from "agentkeys/cli.ts";
import { type Io, type Sleep, systemSleep } from "agentkeys/io.ts";

import { type Clock, systemClock } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";
import type { Environment } from "@agentkeys/lib/settings";

import { type EvmAddress, parseEvmAddress } from "@agentkeys/lib/ethereum";

import type { Confirmer, Visit } from "./confirmer.ts";
import type { System } from "./system.ts";

/** What a command said, and how it ended. */
export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** A person's machine: a state folder, an environment, and the `agentkeys` program, run inside this process. */
export interface Machine {
  /** AGENTKEYS_STATE_DIR; may be changed, as all of it may. */
  env: Record<string, string | undefined>;
  /** The state folder. */
  folder: string;
  /** The person's own wallet, somewhere else: signs what `--paste --json` prints. */
  ownWallet?: (message: string) => Promise<string>;
  agentkeys(...argv: string[]): Promise<Outcome>;
  /** `agentkeys init`, with the person at the browser. Throws when the program fails. */
  signIn(email: string, confirmer: Confirmer): Promise<SignIn>;
  /** `agentkeys creds`, as an AWS SDK reads it. Throws when the program fails. */
  credentials(): Promise<{ accessKeyId: string; secretAccessKey: string; sessionToken: string; expiration: Date }>;
  remove(): void;
}

/** How a sign-in went. */
export interface SignIn {
  /** The code that the program showed. */
  code: string;
  visit: Visit;
  omniAccount: string;
  wallet: EvmAddress;
}

export interface MachineOptions {
  system: Pick<System, "broker" | "keys" | "nextMail">;
  env?: Record<string, string | undefined>;
  clock?: Clock;
  /** How the program waits between two tries. Default: really. */
  sleep?: Sleep;
  /** Where its folder is made. */
  scratch?: string;
}

export function createMachine({
  system,
  env = {},
  clock = systemClock,
  sleep = systemSleep,
  scratch = tmpdir(),
}: MachineOptions): Machine {
  const folder = mkdtempSync(join(scratch, "agentkeys-machine-"));
  const machine: Machine = {
    folder: join(folder, "state"),
    env: {
      AGENTKEYS_BROKER_URL: system.broker.publicUrl,
      AGENTKEYS_KEYS_URL: system.keys.url,
      AGENTKEYS_STATE_DIR: join(folder, "state"),
      ...env,
    },
    agentkeys: (...argv) => {
      const { env: ofMachine, ownWallet } = machine;
      return runInside(argv, { env: ofMachine, home: folder, clock, sleep, ...(ownWallet && { ownWallet }) });
    },
    async signIn(email, confirmer) {
      const running = machine.agentkeys("init", "--email", email, "--json");
      // A program that fails at once has no mail sent: its complaint is what to tell.
      const first = await Promise.race([running, system.nextMail(email.trim())]);
      if ("code" in first) throw new Error(succeeded(first));
      const [link] = first.links;
      if (link === undefined) throw new Error("The mail has no link");
      const visit = await confirmer.confirm(link);
      const events = succeeded(await running)
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Partial<Record<string, string>>);
      const said = Object.assign({}, ...events) as Record<string, string>;
      return {
        visit,
        code: String(said["user_code"]),
        omniAccount: String(said["omni_account"]),
        wallet: parseEvmAddress(String(said["wallet_address"])),
      };
    },
    async credentials() {
      const made = JSON.parse(succeeded(await machine.agentkeys("creds"))) as Record<string, string>;
      const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = made;
      return {
        accessKeyId: String(AccessKeyId),
        secretAccessKey: String(SecretAccessKey),
        sessionToken: String(SessionToken),
        expiration: new Date(String(Expiration)),
      };
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
  return machine;
}

/** What a command answered. Throws what it complained of. */
export function succeeded({ code, stdout, stderr }: Outcome): string {
  if (code !== 0) throw new Error(`agentkeys ended with ${code}: ${stderr}`);
  return stdout;
}

async function runInside(
  argv: readonly string[],
  o: { env: Environment; home: string; clock: Clock; sleep: Sleep; ownWallet?: NonNullable<Machine["ownWallet"]> },
): Promise<Outcome> {
  const { env, home, clock, sleep, ownWallet } = o;
  const [stdin, stdout, stderr] = [new PassThrough(), new Collected(), new Collected()];
  if (ownWallet === undefined) stdin.end();
  else stdout.onText = (text) => void bring(ownWallet, text, stdin);
  const io: Io = {
    ...{ env, home, clock, sleep, stdin, stdout, stderr },
    signals: new EventEmitter(),
    random: systemRandom,
    hostname: "test-machine",
  };
  const code = await run(argv, io);
  return { code, stdout: stdout.text, stderr: stderr.text };
}

/** Signs what the program asks for, and types the signature in. */
async function bring(wallet: NonNullable<Machine["ownWallet"]>, text: string, stdin: Writable): Promise<void> {
  for (const line of text.split("\n").filter((each) => each.includes('"sign_message"'))) {
    const { message } = JSON.parse(line) as { message: string };
    stdin.write((await wallet(message)) + "\n");
  }
}

class Collected extends Writable {
  text = "";
  onText?: (text: string) => void;

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    this.onText?.(chunk.toString());
    done();
  }
}
