import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { HOUR, MINUTE } from "@agentkeys/lib/clock";
import { runInside, type Outcome } from "agentkeys/testing/terminal.ts";

import { createIam } from "../harness/provision.ts";
import { trustPolicy } from "../harness/policies.ts";
import { AwsError } from "../local-aws/aws-error.ts";
import { startLocalAws } from "../local-aws/start.ts";
import { type Enrolled, startEnrolled } from "./enrolled.ts";

let ada: Enrolled;
beforeAll(async () => {
  ada = await startEnrolled();
});
afterAll(() => ada.close());

/** `agentkeys creds` with nothing kept from before. */
async function creds(env: Record<string, string> = {}): Promise<Outcome & { naps: number[] }> {
  const naps: number[] = [];
  const sleep = (ms: number): Promise<void> => Promise.resolve(void naps.push(ms));
  // Another length is another purpose.
  const seconds = String(900 + count++);
  const outcome = await runInside(["creds"], {
    env: { ...ada.machine.env, AGENTKEYS_AWS_SESSION_SECONDS: seconds, ...env },
    sleep,
  });
  return { ...outcome, naps };
}
let count = 0;

const idpTrouble = new AwsError("IDPCommunicationError", 400, "Could not communicate with your identity provider");

describe("STS that is in trouble", () => {
  test.each([
    ["cannot reach the broker", idpTrouble],
    ["is busy", new AwsError("Throttling", 400, "Rate exceeded")],
    ["is broken for a moment", new AwsError("InternalFailure", 500, "It failed")],
    ["is away for a moment", new AwsError("ServiceUnavailable", 503, "It is away")],
  ])("and %s is asked again, waiting longer each time", async (_, error) => {
    for (let i = 0; i < 3; i++) ada.aws.failNext(error);
    const { code, stderr, naps } = await creds();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(naps).toHaveLength(3);
    [500, 1000, 2000].forEach((full, i) => {
      expect(naps[i]).toBeGreaterThanOrEqual(full / 2);
      expect(naps[i]).toBeLessThanOrEqual(full);
    });
  });

  test("for long is told of in the end, with what it needs", async () => {
    for (let i = 0; i < 4; i++) ada.aws.failNext(idpTrouble);
    const { code, stderr, naps } = await creds();
    expect(code).toBe(1);
    expect(naps).toHaveLength(3);
    expect(stderr).toContain(
      `${ada.system.broker.publicUrl}/.well-known/openid-configuration must answer within 5 seconds`,
    );
  });

  test("that nobody can reach is told of by the setting that says where it is", async () => {
    const { code, stderr } = await creds({ AWS_ENDPOINT_URL_STS: "http://127.0.0.1:1" });
    expect(code).toBe(1);
    expect(stderr).toContain("AWS STS cannot be reached (ECONNREFUSED).");
    expect(stderr).toContain("AWS_ENDPOINT_URL_STS");
  });
});

describe("STS that refuses", () => {
  const refused = async (env: Record<string, string>): Promise<string> => {
    const { code, stdout, stderr, naps } = await creds(env);
    expect({ code, stdout, naps }).toEqual({ code: 1, stdout: "", naps: [] });
    return stderr;
  };

  test("because of the account is explained by the claim or the setting that did not fit", async () => {
    const issuer = ada.system.broker.publicUrl;
    const account = await startLocalAws({});
    const iam = createIam(account);
    const env = { AWS_ENDPOINT_URL_STS: account.url, AGENTKEYS_AWS_ROLE_ARN: iam.roleArn("agents") };

    expect(await refused(env)).toContain(
      `The claim \`iss\` is ${issuer}: account ${account.accountId} needs an IAM OIDC provider`,
    );
    await iam.createProvider(issuer, ["somebody-else"]);
    expect(await refused(env)).toContain("The claim `aud` is sts.amazonaws.com: add it to the client ids");
    await account.close();
  });

  test("because of the role is explained by the trust policy", async () => {
    const { aws } = ada;
    const iam = createIam(aws);
    const issuer = ada.system.broker.publicUrl;
    const trust = { provider: iam.providerArn(issuer), issuer };
    await iam.createRole("untagged", trustPolicy({ ...trust, actions: ["sts:AssumeRoleWithWebIdentity"] }));
    await iam.createRole("brief", trustPolicy(trust));

    expect(await refused({ AGENTKEYS_AWS_ROLE_ARN: iam.roleArn("untagged") })).toContain("sts:TagSession");
    expect(await refused({ AGENTKEYS_AWS_ROLE_ARN: iam.roleArn("nobody") })).toContain("there is no such role");
    expect(
      await refused({ AGENTKEYS_AWS_ROLE_ARN: iam.roleArn("brief"), AGENTKEYS_AWS_SESSION_SECONDS: "43200" }),
    ).toContain("AGENTKEYS_AWS_SESSION_SECONDS is 43200: set it to no more than the role's maximum session duration.");
  });

  test("because of its clock is explained by the broker's", async () => {
    const late = await startLocalAws({ clock: () => Date.now() + 3_600_000 });
    const iam = createIam(late, { systemClockOffset: 3_600_000 });
    await iam.createProvider(ada.system.broker.publicUrl, ["sts.amazonaws.com"]);
    const stderr = await refused({ AWS_ENDPOINT_URL_STS: late.url });
    expect(stderr).toContain("AWS STS refused: ExpiredToken");
    expect(stderr).toContain("check the clock of the broker's machine");
    await late.close();
  });
});

test("credentials that still work are given out when no newer ones can be had, with a warning", async () => {
  const first = await runInside(["creds"], { env: ada.machine.env });
  expect(first).toMatchObject({ code: 0, stderr: "" });
  const refusal = new AwsError("AccessDenied", 403, "Not authorized to perform sts:AssumeRoleWithWebIdentity");

  keepOnlyFor(5 * MINUTE, first.stdout);
  ada.aws.failNext(refusal);
  const second = await runInside(["creds"], { env: ada.machine.env });
  expect(second.code).toBe(0);
  expect(accessKeyIn(second.stdout)).toBe(accessKeyIn(first.stdout));
  expect(second.stderr).toMatch(/^agentkeys: warning: AWS STS refused: AccessDenied/);

  keepOnlyFor(-MINUTE, first.stdout);
  ada.aws.failNext(refusal);
  expect(await runInside(["creds"], { env: ada.machine.env })).toMatchObject({ code: 1, stdout: "" });
});

const accessKeyIn = (output: string): unknown => (JSON.parse(output) as Record<string, unknown>)["AccessKeyId"];

/** Makes what is kept of these credentials look as if it had only this long to live. */
function keepOnlyFor(ms: number, output: string): void {
  for (const name of readdirSync(ada.machine.folder)) {
    const path = join(ada.machine.folder, name);
    const record = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    if (record["accessKeyId"] !== accessKeyIn(output)) continue;
    writeFileSync(path, JSON.stringify({ ...record, obtainedAt: Date.now() - HOUR, expiresAt: Date.now() + ms }));
  }
}
