import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";

import { type ErrorReason, Failure } from "@agentkeys/lib/failure";

import type { Sleep } from "../io.ts";
import { type FakeServices, startFakeServices } from "./fake-services.ts";
import { type Outcome, runInside } from "./terminal.ts";

/** A machine whose services are fakes and whose clock stands still until it is moved. */
export interface FakeMachine {
  /** A folder to play in; the state folder is in it. */
  base: string;
  /** The state folder. */
  folder: string;
  services: FakeServices;
  env: Record<string, string>;
  /** Epoch milliseconds. */
  now: number;
  sleep?: Sleep;
  /** What the person at the terminal presses; nobody is there where it is not set. */
  keys?: string;
  /** What a program writes to the standard input. */
  input?: Readable;
  /** Told of everything that is written, as it is. */
  onOutput?: (text: string) => void;
  agentkeys(...argv: string[]): Promise<Outcome>;
  /** `agentkeys init` for ada@example.com. */
  init(...argv: string[]): Promise<Outcome>;
  /** The names of the calls that came in, in order. */
  methods(): string[];
  stateFile(): Record<string, unknown>;
  remove(): Promise<void>;
}

export async function createFakeMachine(): Promise<FakeMachine> {
  const base = mkdtempSync(join(tmpdir(), "agentkeys-fake-"));
  const folder = join(base, "state");
  const clock = (): number => machine.now;
  const services = await startFakeServices({ clock });
  const { url } = services;
  const machine: FakeMachine = {
    ...{ base, folder, services },
    env: { AGENTKEYS_BROKER_URL: url, AGENTKEYS_KEYS_URL: url, AGENTKEYS_STATE_DIR: folder },
    now: Date.UTC(2030, 0, 1),
    agentkeys: (...argv) =>
      runInside(argv, {
        env: machine.env,
        clock,
        ...(machine.sleep !== undefined && { sleep: machine.sleep }),
        ...(machine.keys !== undefined && { keys: machine.keys }),
        ...(machine.input !== undefined && { input: machine.input }),
        ...(machine.onOutput !== undefined && { onOutput: machine.onOutput }),
      }),
    init: (...argv) => machine.agentkeys("init", "--email", "ada@example.com", ...argv),
    methods: () => services.calls.map(({ method }) => method),
    stateFile: () => JSON.parse(readFileSync(join(folder, "state.json"), "utf8")) as Record<string, unknown>,
    async remove() {
      await services.close();
      rmSync(base, { recursive: true, force: true });
    },
  };
  return machine;
}

/** A handler that refuses. */
export function refuse(reason: ErrorReason, message = "refused", retryAfterMs?: number): () => never {
  return () => {
    throw new Failure(reason, message, retryAfterMs === undefined ? {} : { retryAfterMs });
  };
}
