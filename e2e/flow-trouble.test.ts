import { AssumeRoleWithWebIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { freePorts } from "./harness/free-port.ts";
import { startHeldProxy } from "./harness/held-proxy.ts";
import { createMachine, type Machine, type SignIn } from "./harness/machine.ts";
import { plainBrowser } from "./harness/plain-browser.ts";
import { startSystem, type System } from "./harness/system.ts";
import { createUndoStack } from "./harness/undo-stack.ts";
import { prepareVault } from "./harness/vault.ts";
import { AwsError } from "./local-aws/aws-error.ts";
import { type LocalAws, startLocalAws } from "./local-aws/start.ts";

const masterSecret = "ab".repeat(32);

let system: System;
let aws: LocalAws;
let machine: Machine;
let signIn: SignIn;
const undo = createUndoStack();

beforeAll(async () => {
  system = await startSystem({ masterSecret });
  undo.add(() => system.close());
  aws = await startLocalAws({});
  undo.add(() => aws.close());
  const { roleArn } = await prepareVault({ ...aws, dialect: "aws" }, system.broker.publicUrl);
  machine = createMachine({
    system,
    env: { AGENTKEYS_AWS_ROLE_ARN: roleArn, AWS_ENDPOINT_URL_STS: aws.url },
    sleep: () => Promise.resolve(),
  });
  undo.add(() => machine.remove());
  signIn = await machine.signIn("ada@example.com", plainBrowser());
});
afterAll(() => undo.run());

// Credentials that are kept would be handed out whatever is wrong elsewhere; each other length has none kept.
let seconds = 900;
let usual: Machine["env"];
beforeEach(() => {
  usual = { ...machine.env };
  machine.env["AGENTKEYS_AWS_SESSION_SECONDS"] = String(++seconds);
});
afterEach(() => {
  machine.env = usual;
});

const kept = (): string => readFileSync(join(machine.folder, "state.json"), "utf8");

describe("a key service", () => {
  test("that is down is named, nothing is lost, and it goes on when it is back", async () => {
    const before = kept();
    const { url } = system.keys;
    machine.env["AGENTKEYS_KEYS_URL"] = `http://127.0.0.1:${await freePorts()}`;
    const { code, stdout, stderr } = await machine.agentkeys("creds");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/key service at http:\S+ cannot be reached/);
    expect(stderr).toContain("AGENTKEYS_KEYS_URL");
    expect(kept()).toBe(before);

    machine.env["AGENTKEYS_KEYS_URL"] = url;
    expect((await machine.credentials()).accessKeyId).toMatch(/^ASIA/);
  });

  test("that is slow is waited for", async () => {
    const proxy = await startHeldProxy();
    const behind = await system.startKeys({ masterSecret, publicUrl: proxy.url });
    proxy.forwardTo(behind.url);
    machine.env["AGENTKEYS_KEYS_URL"] = proxy.url;
    const running = machine.credentials();
    await proxy.reached();
    proxy.release();
    expect((await running).accessKeyId).toMatch(/^ASIA/);
    await proxy.close();
  });

  test("that hangs up is named, and nothing is lost", async () => {
    const before = kept();
    const proxy = await startHeldProxy();
    machine.env["AGENTKEYS_KEYS_URL"] = proxy.url;
    const running = machine.agentkeys("creds");
    await proxy.reached();
    proxy.hangUp();
    const { code, stderr } = await running;
    expect(code).toBe(1);
    expect(stderr).toContain(`key service at ${proxy.url} cannot be reached`);
    expect(kept()).toBe(before);
    await proxy.close();
  });

  test("that answers another address stops everything, and says what to look at", async () => {
    const before = kept();
    machine.env["AGENTKEYS_KEYS_URL"] = (await system.startKeys({})).url;
    const { code, stdout, stderr } = await machine.agentkeys("creds");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(`This account's wallet is ${signIn.wallet}, but the key service now answers with 0x`);
    expect(stderr).toContain("AGENTKEYS_KEYS_URL");
    expect(kept()).toBe(before);
  });

  test("of another deployment takes no session of this one", async () => {
    const other = await startSystem({ masterSecret });
    machine.env["AGENTKEYS_KEYS_URL"] = other.keys.url;
    const { code, stderr } = await machine.agentkeys("creds");
    expect(code).toBe(4);
    expect(stderr).toContain("session is not accepted");
    await other.close();
  });
});

describe("a broker", () => {
  test("that is down is named, and the session is kept for when it is back", async () => {
    const before = kept();
    const proxy = await startHeldProxy();
    // The same broker for the program, but not reached.
    await proxy.close();
    const text = before.replaceAll(system.broker.publicUrl, proxy.url);
    const elsewhere = createMachine({ system, env: { ...machine.env, AGENTKEYS_BROKER_URL: proxy.url } });
    mkdirSync(elsewhere.folder, { mode: 0o700 });
    writeFileSync(join(elsewhere.folder, "state.json"), text, { mode: 0o600 });
    elsewhere.env["AGENTKEYS_STATE_DIR"] = elsewhere.folder;
    const { code, stderr } = await elsewhere.agentkeys("creds");
    expect(code).toBe(1);
    expect(stderr).toContain(`broker at ${proxy.url} cannot be reached`);
    expect(readFileSync(join(elsewhere.folder, "state.json"), "utf8")).toBe(text);
    elsewhere.remove();
  });

  test("other than the one that this machine signed in at is sent nothing", async () => {
    const proxy = await startHeldProxy();
    machine.env["AGENTKEYS_BROKER_URL"] = proxy.url;
    const calls = system.logged.length;
    const { code, stderr } = await machine.agentkeys("creds");
    expect(code).toBe(78);
    expect(stderr).toContain(`signed in at ${system.broker.publicUrl}`);
    expect(system.logged.length).toBe(calls);
    await proxy.close();
  });
});

describe("AWS STS", () => {
  test("that does not trust the broker is explained, by what to look at", async () => {
    machine.env["AGENTKEYS_AWS_ROLE_ARN"] = "arn:aws:iam::123456789012:role/nobody";
    const { code, stderr } = await machine.agentkeys("creds");
    expect(code).toBe(1);
    expect(stderr).toContain("AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity");
    expect(stderr).toMatch(/trust policy/);
  });

  test("that has a short trouble is asked again", async () => {
    aws.failNext(new AwsError("IDPCommunicationError", 400, "scripted"));
    aws.failNext(new AwsError("InternalFailure", 500, "scripted"));
    expect((await machine.credentials()).accessKeyId).toMatch(/^ASIA/);
  });

  test.each([
    ["IDPRejectedClaim", 403],
    ["RegionDisabled", 403],
    ["PackedPolicyTooLarge", 400],
  ])("that says %s is not asked again, though it would then give in", async (code, status) => {
    aws.failNext(new AwsError(code, status, "scripted"));
    const refused = await machine.agentkeys("creds");
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(code);
  });

  test("refuses a JWT that was made for somebody else", async () => {
    const { stdout } = await machine.agentkeys("token", "--audience", "other.example");
    const sts = new STSClient({ endpoint: aws.url, region: "us-east-1", maxAttempts: 1 });
    const RoleArn = machine.env["AGENTKEYS_AWS_ROLE_ARN"];
    const call = { RoleArn, RoleSessionName: "test", WebIdentityToken: stdout.trim() };
    await expect(sts.send(new AssumeRoleWithWebIdentityCommand(call))).rejects.toThrow("Incorrect token audience");
    sts.destroy();
  });
});
