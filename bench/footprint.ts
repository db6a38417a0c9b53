import { type Bed, makeBed } from "./bed.ts";
import { claimWallet, createCaller, mint, RPC, signIn, walletSession } from "./caller.ts";
import { measure } from "./measure.ts";

export interface StartTime {
  service: string;
  /** From the start of the process to the first 200 of /readyz, in milliseconds: the median of all starts. */
  readyMs: number;
}

/** Starts broker and key service again and again, from their bundles, the broker with a store that is new each time. */
export async function measureStart(times: number): Promise<StartTime[]> {
  const broker: number[] = [];
  const keys: number[] = [];
  for (let i = 0; i < times; i++) {
    const bed = await makeBed({ allowances: "default" });
    broker.push(bed.broker.readyMs);
    keys.push(bed.keys.readyMs);
    await bed.close();
  }
  return [
    { service: "broker", readyMs: median(broker) },
    { service: "key service", readyMs: median(keys) },
  ];
}

/** Resident memory in bytes. */
export interface Growth {
  service: string;
  call: string;
  after10k: number;
  after100k: number;
}

/** Calls each service 100,000 times; takes minutes. */
export async function measureMemory(bed: Bed, progress: (name: string) => void): Promise<Growth[]> {
  const caller = await createCaller(bed, { bound: false });
  const who = await signIn(bed, caller, "memory@example.com");
  const address = await claimWallet(bed, caller, who);
  const walletToken = await walletSession(bed, caller, who, address);
  const headers = await caller.headers(bed.keys.url, who.token);
  const sign = { omniAccount: who.omniAccount, messageHex: "ab".repeat(300) };
  const subjects = [
    {
      service: "key service",
      call: "SignMessage",
      of: bed.keys,
      send: () => caller.toKeys.post(RPC.signMessage, sign, headers),
    },
    { service: "broker", call: "MintOidcJwt", of: bed.broker, send: () => mint(bed, caller, walletToken) },
  ];
  const rows: Growth[] = [];
  for (const { service, call, of, send } of subjects) {
    progress(`memory of the ${service} after 10,000 and 100,000 calls`);
    // `measure` warms up with a tenth as many again: 10,000 and 90,000 calls in all.
    await measure({ call: send }, 9_090, 32);
    const after10k = of.residentBytes();
    await measure({ call: send }, 81_818, 32);
    rows.push({ service, call, after10k, after100k: of.residentBytes() });
  }
  return rows;
}

/** The middle one. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
