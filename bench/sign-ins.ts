import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";

import { freePorts } from "@agentkeys/e2e/harness/free-port.ts";
import { systemClock } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";
import { createDpopKey, type DpopKey, generateDpopKey } from "@agentkeys/lib/session";

import { createLoadClient, type LoadClient } from "./load-client.ts";
import { percentile } from "./measure.ts";
import { startProcess } from "./service-process.ts";
import { startStubProvider, type StubProvider } from "./stub-provider.ts";

const root = join(import.meta.dirname, "..");
const LOGIN = "/agentkeys.broker.v1.LoginService";

/** What the broker takes for one sign-in, all its calls and pages together. */
export interface SignInFigures {
  way: string;
  /** Calls and pages of one sign-in. */
  requests: number;
  signIns: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  /** The same as so many no-op RPCs: its median by theirs, its 99th of a hundred by theirs, and by their median. */
  p50ToNoop: number;
  p99ToNoop: number;
  p99ToNoopMedian: number;
}

const SIGN_INS = 300;
const WARM_UP = 50;
/** No-op RPCs after each pair of sign-ins: what disturbs the one then disturbs the others as much. */
const NOOPS = 10;

/**
 * A sign-in by mail and one at an OpenID Connect provider, one after the other. What others take is not in it: the mail stays with the
 * broker, and what the broker waits for the provider is taken off. Proofs of the device key are made while no clock runs.
 */
export async function measureSignIns(): Promise<SignInFigures[]> {
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-bench-"));
  const provider = await startStubProvider();
  const port = await freePorts(2);
  const [url, noopUrl] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${port + 1}`];
  const broker = await startProcess({
    args: ["--import", "tsx", join(root, "bench/endless-broker.ts")],
    url,
    logFile: join(folder, "broker.log"),
    core: 0,
    env: {
      AGENTKEYS_BROKER_LISTEN: `127.0.0.1:${port}`,
      AGENTKEYS_BROKER_STORE: join(folder, "broker.sqlite"),
      AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY: randomBytes(32).toString("hex"),
      AGENTKEYS_BROKER_OAUTH_PROVIDERS: provider.settings,
    },
  });
  // On the broker's core, which does nothing else meanwhile.
  const noop = await startProcess({
    args: ["--import", "tsx", join(root, "bench/noop-server.ts"), `127.0.0.1:${port + 1}`],
    url: noopUrl,
    logFile: join(folder, "noop.log"),
    core: 0,
    env: {},
  });
  const [toBroker, toNoop] = [createLoadClient(url), createLoadClient(noopUrl)];
  const key = await createDpopKey(await generateDpopKey(), { clock: systemClock, random: systemRandom });
  try {
    const [mail, oidc, noops]: [number[], number[], number[]] = [[], [], []];
    const visitor = { url, client: toBroker, key };
    for (let i = 0; i < WARM_UP + SIGN_INS; i++) {
      mail.push(await byMail(visitor, `person-${i}@example.com`));
      oidc.push(await atProvider(visitor, provider, `person-${i}`));
      for (let call = 0; call < NOOPS; call++) {
        const begun = performance.now();
        await toNoop.post("/grpc.health.v1.Health/Check", {});
        noops.push(performance.now() - begun);
      }
    }
    const yardstick = sorted(noops.slice(WARM_UP * NOOPS));
    return [
      figures("by mail", MAIL_REQUESTS, sorted(mail.slice(WARM_UP)), yardstick),
      figures("at an OpenID Connect provider", OIDC_REQUESTS, sorted(oidc.slice(WARM_UP)), yardstick),
    ];
  } finally {
    toBroker.close();
    toNoop.close();
    await Promise.all([broker.stop(), noop.stop()]);
    provider.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Visitor {
  url: string;
  client: LoadClient;
  key: DpopKey;
}

const MAIL_REQUESTS = 5;

async function byMail(visitor: Visitor, email: string): Promise<number> {
  const clock = stopwatch();
  const started = await rpc(visitor, clock, "StartEmailLogin", { email, deviceName: "bench" });
  const { text: mailbox } = await visitor.client.send({ method: "GET", path: "/dev/mailbox" });
  const token = /\/login#([\w-]{43})/.exec(mailbox)?.[1] ?? "";
  await page(visitor, clock, "GET", "/login");
  await page(visitor, clock, "POST", "/login/review", { token });
  await page(visitor, clock, "POST", "/login/confirm", { token });
  await rpc(visitor, clock, "AwaitLogin", collected(started));
  return clock.total();
}

const OIDC_REQUESTS = 8;

async function atProvider(visitor: Visitor, provider: StubProvider, sub: string): Promise<number> {
  const before = provider.workedMs;
  const clock = stopwatch();
  const started = await rpc(visitor, clock, "StartOauthLogin", { provider: "stub", deviceName: "bench" });
  const token = new URL(started["authorizationUrl"] ?? "").hash.slice(1);
  await page(visitor, clock, "GET", "/login");
  await page(visitor, clock, "POST", "/login/review", { token });
  const leaving = await page(visitor, clock, "POST", "/login/continue", { token });
  const cookie = (leaving.headers["set-cookie"]?.[0] ?? "").split(";")[0] ?? "";
  const onward =
    /http-equiv="refresh" content="0; url=([^"]+)"/.exec(leaving.text)?.[1]?.replaceAll("&amp;", "&") ?? "";
  const back = provider.answer(new URL(onward), sub);
  const returned = await page(visitor, clock, "GET", back.pathname + back.search, undefined, cookie);
  await page(visitor, clock, "GET", returned.headers.location ?? "", undefined, cookie);
  const login = started["loginId"] ?? "";
  await page(visitor, clock, "POST", "/login/confirm", { login }, cookie);
  await rpc(visitor, clock, "AwaitLogin", collected(started));
  return clock.total() - (provider.workedMs - before);
}

type Answer = Readonly<Partial<Record<string, string>>>;

function collected({ loginId, loginSecret }: Answer) {
  return { loginId, loginSecret };
}

async function rpc({ url, client, key }: Visitor, clock: Stopwatch, name: string, body: object): Promise<Answer> {
  const path = `${LOGIN}/${name}`;
  const dpop = await key.prove({ method: "POST", url: url + path });
  return JSON.parse(await clock.run(() => client.post(path, body, { dpop }))) as Answer;
}

async function page(
  { url, client }: Visitor,
  clock: Stopwatch,
  method: "GET" | "POST",
  path: string,
  form?: Record<string, string>,
  cookie?: string,
) {
  const headers = {
    "sec-fetch-site": "same-origin",
    origin: url,
    ...(cookie !== undefined && { cookie }),
    ...(form !== undefined && { "content-type": "application/x-www-form-urlencoded" }),
  };
  const body = form === undefined ? "" : new URLSearchParams(form).toString();
  const answer = await clock.run(() => client.send({ method, path, headers, body }));
  if (answer.status >= 400) throw new Error(`${path} answered ${answer.status}: ${answer.text}`);
  return answer;
}

interface Stopwatch {
  run<T>(call: () => Promise<T>): Promise<T>;
  total(): number;
}

function stopwatch(): Stopwatch {
  let total = 0;
  return {
    total: () => total,
    run: async (call) => {
      const begun = performance.now();
      const result = await call();
      total += performance.now() - begun;
      return result;
    },
  };
}

function sorted(times: number[]): number[] {
  return times.sort((a, b) => a - b);
}

function figures(way: string, requests: number, times: number[], noops: number[]): SignInFigures {
  const [p50, p99] = [percentile(times, 0.5), percentile(times, 0.99)];
  const [noop50, noop99] = [percentile(noops, 0.5), percentile(noops, 0.99)];
  const ratios = { p50ToNoop: p50 / noop50, p99ToNoop: p99 / noop99, p99ToNoopMedian: p99 / noop50 };
  return { way, requests, signIns: times.length, p50, p99, ...ratios };
}
