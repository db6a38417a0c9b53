import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";

import type { Tpm } from "../client.ts";
import { TpmError } from "../errors.ts";
import { startTestTpm, type TestTpm } from "./swtpm.ts";

/** A TPM for the tests of a suite: one for all of them, with a connection of its own and PCRs as after a boot for each. */
export interface TestBench {
  readonly machine: TestTpm;
  /** May be replaced: it is closed after the test. */
  tpm: Tpm;
  /** Every byte that crossed the connection in this test. */
  readonly tap: Buffer[];
  reboot(): Promise<void>;
}

/** Call it where the suite's hooks go; what it returns is filled by them. */
export function tpmForEachTest(): TestBench {
  const bench = {
    tap: [] as Buffer[],
    reboot: async () => {
      await bench.tpm.close();
      await bench.machine.reboot();
      bench.tpm = await bench.machine.open({ tap: bench.tap });
    },
  } as TestBench & { machine: TestTpm; tap: Buffer[] };
  beforeAll(async () => {
    bench.machine = await startTestTpm();
  });
  afterAll(() => bench.machine.stop());
  beforeEach(async () => {
    bench.tap = [];
    bench.tpm = await bench.machine.open({ tap: bench.tap });
  });
  afterEach(async () => {
    await bench.tpm.close();
    await bench.machine.reboot();
  });
  return bench;
}

/** How a TPM refuses; fails the test when it does not. */
export async function refusal(work: Promise<unknown>): Promise<TpmError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof TpmError) return error;
    throw error;
  }
  throw new Error("was not refused");
}
