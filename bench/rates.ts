import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";

import { createSigningEngine } from "@agentkeys/keys/signing.ts";
import { parseOmniAccount } from "@agentkeys/lib/account";

import type { Bed } from "./bed.ts";
import { type Caller, claimWallet, createCaller, mint, RPC, signIn, type SignedIn, walletSession } from "./caller.ts";
import { createLoadClient } from "./load-client.ts";
import { type Figures, measure, type Subject } from "./measure.ts";

/** One line of the table: what was measured, and beside what. */
export interface Row extends Figures {
  name: string;
  /** Calls per second as a part of the no-op RPC's at the same concurrency. */
  rateToNoop: number;
  /** p50 as a multiple of the no-op RPC's. */
  p50ToNoop: number;
}

/** How many calls one subject gets: for one at a time, and for many. */
interface Effort {
  alone: number;
  together: number;
}

const CALLS: Effort = { alone: 1000, together: 6000 };
const FLOWS: Effort = { alone: 200, together: 960 };
const SIGN_INS: Effort = { alone: 40, together: 128 };
const TOGETHER = 32;

/** Everything that is compared with a no-op RPC of the same run. `progress` hears what is measured next. */
export async function measureRates(bed: Bed, progress: (name: string) => void): Promise<Row[]> {
  const bearer = await visitor(bed, { bound: false });
  const bound = await visitor(bed, { bound: true });
  const message = { omniAccount: bearer.who.omniAccount, messageHex: randomBytes(300).toString("hex") };
  const account = { omniAccount: bearer.who.omniAccount };

  const { rows, noop, add } = comparison(progress);
  const toNoop = createLoadClient(bed.noop.url);
  await noop("no-op RPC", { call: () => toNoop.post(RPC.noop, {}) });
  toNoop.close();

  await add("DeriveAddress", toKeys(bed, bearer, RPC.deriveAddress, account), CALLS);
  await add("SignMessage", toKeys(bed, bearer, RPC.signMessage, message), CALLS);
  const boundMessage = { ...message, omniAccount: bound.who.omniAccount };
  await add("SignMessage with DPoP", toKeys(bed, bound, RPC.signMessage, boundMessage), CALLS);
  rows.push(await bareEngine(rows));

  await add("StartWalletAuth + SignMessage + VerifyWallet", flow(bed, bearer, false), FLOWS);
  await add("MintOidcJwt", minting(bed, bearer), CALLS);
  await add("wallet flow to OIDC JWT", flow(bed, bearer, true), FLOWS);
  await add("wallet flow to OIDC JWT with DPoP", flow(bed, bound, true), FLOWS);
  await add("sign-in by mail to OIDC JWT with DPoP", wholeSignIn(bed, bound.caller), SIGN_INS);
  for (const { caller } of [bearer, bound]) {
    caller.toBroker.close();
    caller.toKeys.close();
  }
  return rows;
}

interface Visitor {
  caller: Caller;
  who: SignedIn;
  address: string;
  walletToken: string;
}

async function visitor(bed: Bed, o: { bound: boolean }): Promise<Visitor> {
  const caller = await createCaller(bed, o);
  const who = await signIn(bed, caller, `${o.bound ? "bound" : "bearer"}@example.com`);
  const address = await claimWallet(bed, caller, who);
  return { caller, who, address, walletToken: await walletSession(bed, caller, who, address) };
}

/** The proof is made before the clock runs: here the key service is measured, not its caller. */
function toKeys(bed: Bed, { caller, who }: Visitor, path: string, body: unknown): Subject {
  return {
    async prepare() {
      const headers = await caller.headers(bed.keys.url + path, who.token);
      return () => caller.toKeys.post(path, body, headers);
    },
  };
}

function flow(bed: Bed, { caller, who, address }: Visitor, minted: boolean): Subject {
  return {
    async call() {
      const token = await walletSession(bed, caller, who, address);
      if (minted) await mint(bed, caller, token);
    },
  };
}

function minting(bed: Bed, { caller, walletToken }: Visitor): Subject {
  return { call: () => mint(bed, caller, walletToken) };
}

function wholeSignIn(bed: Bed, caller: Caller): Subject {
  let people = 0;
  return {
    async call() {
      const who = await signIn(bed, caller, `person-${++people}@example.com`);
      const address = await claimWallet(bed, caller, who);
      await mint(bed, caller, await walletSession(bed, caller, who, address));
    },
  };
}

/** Measures each subject one at a time and many at a time, beside the no-op RPC that came first. */
function comparison(progress: (name: string) => void) {
  const rows: Row[] = [];
  let yardsticks: Figures[] = [];
  const both = async (name: string, subject: Subject, { alone, together }: Effort): Promise<Figures[]> => {
    progress(name);
    return [await measure(subject, alone, 1), await measure(subject, together, TOGETHER)];
  };
  const push = (name: string, figures: Figures[]): void => {
    figures.forEach((f, i) => {
      const yardstick = yardsticks[i] ?? f;
      rows.push({ name, ...f, rateToNoop: f.perSecond / yardstick.perSecond, p50ToNoop: f.p50 / yardstick.p50 });
    });
  };
  return {
    rows,
    noop: async (name: string, subject: Subject): Promise<void> => {
      yardsticks = await both(name, subject, CALLS);
      push(name, yardsticks);
    },
    add: async (name: string, subject: Subject, effort: Effort): Promise<void> => {
      push(name, await both(name, subject, effort));
    },
  };
}

/** The engine alone in a loop, in this process: what a server around it could reach at the most. */
async function bareEngine(rows: readonly Row[]): Promise<Row> {
  const engine = createSigningEngine(randomBytes(32));
  const account = parseOmniAccount("ab".repeat(32));
  const message = randomBytes(300);
  const times: number[] = [];
  for (let i = 0; i < 1000 + CALLS.alone; i++) {
    const before = performance.now();
    await engine.sign(account, message);
    if (i >= 1000) times.push(performance.now() - before);
  }
  engine.destroy();
  const elapsed = times.reduce((sum, time) => sum + time, 0);
  times.sort((a, b) => a - b);
  const p50 = times[Math.floor(times.length * 0.5)] ?? NaN;
  const p99 = times[Math.floor(times.length * 0.99)] ?? NaN;
  const perSecond = (times.length / elapsed) * 1000;
  const noop = rows[0];
  return {
    ...{ name: "signing engine alone, no server", calls: times.length, concurrency: 1, perSecond, p50, p99 },
    rateToNoop: perSecond / (noop?.perSecond ?? NaN),
    p50ToNoop: p50 / (noop?.p50 ?? NaN),
  };
}
