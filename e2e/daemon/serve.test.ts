import { existsSync, readFileSync, statSync } from "node:fs";

import { fromHttp } from "@aws-sdk/credential-providers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { type Enrolled, startEnrolled } from "./enrolled.ts";
import type { Program } from "./program.ts";

let ada: Enrolled;
beforeAll(async () => {
  ada = await startEnrolled();
});
afterAll(() => ada.close());

/** What `agentkeys daemon --json` says at the start. */
interface Started {
  url: string;
  token_file: string;
  environment: Record<string, string>;
}

async function startDaemon(...args: string[]): Promise<{ daemon: Program; started: Started }> {
  const daemon = ada.start(["daemon", "--json", ...args]);
  const [line] = await daemon.says(/^\{"url".*\}\n/);
  return { daemon, started: JSON.parse(line) as Started };
}

async function get(url: string, headers: Record<string, string> = {}): Promise<{ status: number; body: unknown }> {
  const response = await fetch(url, { headers });
  return { status: response.status, body: await response.json() };
}

async function stop(daemon: Program): Promise<void> {
  daemon.process.kill("SIGTERM");
  expect(await daemon.ended).toBe(0);
}

describe("agentkeys daemon", () => {
  let daemon: Program;
  let started: Started;
  beforeEach(async () => {
    ({ daemon, started } = await startDaemon());
    return () => stop(daemon);
  });
  const ready = (): Promise<unknown> => daemon.says(/credentials obtained/);
  const authorization = (): string => readFileSync(started.token_file, "utf8");

  test("gives AWS's SDK credentials by a token file that only its owner can read", async () => {
    await ready();
    expect(statSync(started.token_file).mode & 0o777).toBe(0o600);
    expect(started.environment).toEqual({
      AWS_CONTAINER_CREDENTIALS_FULL_URI: started.url,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: started.token_file,
    });
    const provider = fromHttp({
      awsContainerCredentialsFullUri: started.url,
      awsContainerAuthorizationTokenFile: started.token_file,
    });
    expect(await ada.callerOf(provider)).toBe(ada.ownArn);
    await expect(
      fromHttp({
        awsContainerCredentialsFullUri: started.url,
        awsContainerAuthorizationToken: "another",
        maxRetries: 0,
      })(),
    ).rejects.toThrow("401");
  });

  test("is ready when it has something to give, and not before", async () => {
    await ready();
    expect(await get(new URL("/readyz", started.url).href)).toEqual({ status: 200, body: { ready: true } });
  });

  test("does not let a second one take its token file away", async () => {
    const second = ada.start(["daemon"]);
    expect(await second.ended).toBe(78);
    expect(second.stderr()).toContain("Another agentkeys daemon already serves from");
    expect(existsSync(started.token_file)).toBe(true);
  });

  test("says that a person must sign in, and goes on by itself when they did", async () => {
    await ready();
    await ada.machine.agentkeys("logout");
    const headers = { authorization: authorization() };
    expect(await get(started.url, headers)).toMatchObject({ status: 503, body: { code: "NOT_SIGNED_IN" } });
    expect(await get(new URL("/readyz", started.url).href)).toEqual({
      status: 503,
      body: {
        ready: false,
        reason: "NOT_SIGNED_IN",
        message: "Nobody is signed in on this machine. Run `agentkeys init`.",
      },
    });
    await ada.signIn();
    // Each look is a chance to notice; what is asked for comes within a second or two.
    await expect.poll(async () => (await get(started.url, headers)).status, { timeout: 10_000 }).toBe(200);
  });

  test("leaves no token behind", async () => {
    await ready();
    daemon.process.kill("SIGINT");
    expect(await daemon.ended).toBe(0);
    expect(existsSync(started.token_file)).toBe(false);
    ({ daemon, started } = await startDaemon());
  });

  test("logs what it does as JSON, on standard error", async () => {
    await ready();
    const lines = daemon
      .stderr()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.map(({ msg }) => msg)).toEqual(expect.arrayContaining(["listening", "credentials obtained"]));
    expect(lines.find(({ msg }) => msg === "listening")).toMatchObject({ service: "agentkeys", url: started.url });
  });
});

describe("agentkeys daemon that cannot work yet", () => {
  test("runs on, is not ready, and says what to do", async () => {
    await ada.machine.agentkeys("logout");
    const { daemon, started } = await startDaemon();
    await daemon.says(/no new credentials/);
    const answer = await get(started.url, { authorization: readFileSync(started.token_file, "utf8") });
    expect(answer).toMatchObject({
      status: 503,
      body: { code: "NOT_SIGNED_IN", message: expect.stringContaining("agentkeys init") as string },
    });
    await stop(daemon);
  });

  test("prints what a shell can read", async () => {
    const daemon = ada.start(["daemon"]);
    await daemon.says(/AUTHORIZATION_TOKEN_FILE=.*\n/);
    const exports = daemon
      .stdout()
      .split("\n")
      .filter((line) => line.startsWith("export "));
    expect(exports).toHaveLength(2);
    expect(exports[0]).toMatch(
      /^export AWS_CONTAINER_CREDENTIALS_FULL_URI=http:\/\/127\.0\.0\.1:\d+\/v1\/credentials$/,
    );
    await stop(daemon);
  });
});
