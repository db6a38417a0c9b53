import { AssumeRoleWithWebIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { findChromium, openChromium } from "../harness/chromium.ts";
import { type Cloud, startRgwCloud } from "../harness/cloud.ts";
import type { Confirmer } from "../harness/confirmer.ts";
import { isolationFaults, type Tenant } from "../harness/isolation.ts";
import { startIssuer } from "../harness/issuer.ts";
import { createMachine, type Machine, type SignIn } from "../harness/machine.ts";
import { type Policy, TAGS_CLAIM, WALLET_TAG, walletPolicy } from "../harness/policies.ts";
import { startSystem, type System } from "../harness/system.ts";
import { createUndoStack } from "../harness/undo-stack.ts";
import { openS3, prepareVault, type Vault } from "../harness/vault.ts";
import { announceSkip, missingForRgw } from "./requirements.ts";
import { startX5cProxy } from "./x5c-proxy.ts";

const skip = announceSkip(missingForRgw(process.env));
const MINUTE = 60_000;

let scratch: string;
let cloud: Cloud;
let system: System;
let vault: Vault;
let browser: Confirmer;
let sts: STSClient;
const people: { name: string; machine: Machine; signIn: SignIn; tenant: Tenant }[] = [];
const undo = createUndoStack();

describe.skipIf(skip)("with Ceph's STS and S3, a real mail server and a real browser", () => {
  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), "agentkeys-rgw-"));
    undo.add(() => rmSync(scratch, { recursive: true, force: true }));
    cloud = await startRgwCloud(scratch);
    undo.add(() => cloud.close());
    browser = await openChromium(findChromium()!);
    undo.add(() => browser.close());
    system = await startSystem({ front: cloud.front });
    undo.add(() => system.close());
    vault = await prepareVault(cloud, system.broker.publicUrl);
    sts = new STSClient({ endpoint: cloud.url, region: "us-east-1", maxAttempts: 1 });
    undo.add(() => sts.destroy());

    for (const name of ["Ada", "Bob"]) {
      const machine = createMachine({ system, env: { AWS_ENDPOINT_URL_STS: cloud.url } });
      undo.add(() => machine.remove());
      const signIn = await machine.signIn(`${name.toLowerCase()}@example.com`, browser);
      machine.env["AGENTKEYS_AWS_ROLE_ARN"] = vault.roleArn;
      const s3 = openS3(cloud.url, await machine.credentials());
      undo.add(() => s3.destroy());
      people.push({ name, machine, signIn, tenant: { name, wallet: signIn.wallet, s3 } });
    }
    await vault.admit(people.map(({ signIn }) => signIn.wallet));
  });
  afterAll(() => undo.run());

  const tenants = (): Tenant[] => people.map(({ tenant }) => tenant);
  const policyFor = (wallets: readonly string[]): Policy =>
    walletPolicy({ bucket: vault.bucket, dialect: "rgw", wallets });
  const bothWallets = (): string[] => tenants().map(({ wallet }) => wallet);

  /** `"accepted"`, or the HTTP status: RGW has no error codes of STS's. */
  async function assume(jwt: string, roleArn = vault.roleArn): Promise<string | number> {
    try {
      await sts.send(
        new AssumeRoleWithWebIdentityCommand({ RoleArn: roleArn, RoleSessionName: "test", WebIdentityToken: jwt }),
      );
      return "accepted";
    } catch (error) {
      return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode ?? String(error);
    }
  }
  const tokenOf = async (machine: Machine, ...argv: string[]): Promise<string> =>
    (await machine.agentkeys("token", ...argv)).stdout.trim();

  describe("two people", () => {
    test("saw their terminal's code on the page, and what they confirmed", () => {
      for (const { signIn } of people) {
        expect(signIn.visit.review).toContain(signIn.code);
        expect(signIn.visit.outcome).toContain("Signed in");
      }
    });

    test("have their own places, and neither can use the other's", async () => {
      expect(await isolationFaults(vault.bucket, tenants())).toEqual([]);
    });
  });

  describe("the isolation test itself fails when", () => {
    const during = async (policy: Policy): Promise<string[]> => {
      await vault.setPolicy(policy);
      try {
        return await isolationFaults(vault.bucket, tenants());
      } finally {
        await vault.setPolicy(policyFor(bothWallets()));
      }
    };

    test("the condition is taken away", async () => {
      const policy = policyFor(bothWallets());
      for (const statement of policy.Statement) delete statement.Condition?.["StringEquals"];
      expect(await during(policy)).toContain("Bob get at Ada's: OK");
    });

    test("a broad grant is left on the role", async () => {
      const broad = { Effect: "Allow" as const, Action: ["s3:*"], Resource: [`arn:aws:s3:::${vault.bucket}/*`] };
      const policy = policyFor(bothWallets());
      expect(await during({ ...policy, Statement: [...policy.Statement, broad] })).toContain("Ada put at Bob's: OK");
    });

    test("the tag is taken away from the token", async () => {
      const withTag = await elsewhere("tagged", { demandTag: false });
      const withoutTag = await elsewhere("untagged", { demandTag: false });
      for (const { name, wallet } of tenants()) {
        expect(await faultsOf(await withTag.mint(wallet, true), withTag.vault, { name, wallet })).toEqual([]);
        const faults = await faultsOf(await withoutTag.mint(wallet, false), withoutTag.vault, { name, wallet });
        expect(faults).toContain(`${name} put at ${name}'s: AccessDenied`);
      }
    });

    test("the second person is taken away", async () => {
      const [ada] = tenants();
      const faults = await isolationFaults(vault.bucket, [ada!, { ...ada!, name: "Ada again" }]);
      expect(faults).toContain("there are no two different wallets");
      expect(faults).toContain("Ada get at Ada again's: OK");
    });
  });

  /** A vault for the tokens of an issuer that puts the wallet's tag into them or not. */
  async function elsewhere(name: string, options: { demandTag: boolean }) {
    const [issuer, front] = await Promise.all([startIssuer({ clock: Date.now }), startX5cProxy()]);
    undo.add(() => issuer.close());
    undo.add(() => front.close());
    front.forwardTo(issuer.url);
    issuer.discovery = { ...issuer.discovery, issuer: front.url, jwks_uri: `${front.url}/.well-known/jwks.json` };
    const other = await prepareVault(cloud, front.url, { name, ...options });
    await other.admit(bothWallets());
    const mint = (wallet: string, tagged: boolean): Promise<string> => {
      const claims = { principal_tags: { [WALLET_TAG]: [wallet] }, transitive_tag_keys: [WALLET_TAG] };
      return issuer.mint({
        iss: front.url,
        sub: `agentkeys:wallet:${wallet}`,
        ...(tagged && { [TAGS_CLAIM]: claims }),
      });
    };
    return { vault: other, mint };
  }

  /** What is wrong for a tenant beside one that does nothing. */
  async function faultsOf(jwt: string, place: Vault, tenant: Omit<Tenant, "s3">): Promise<string[]> {
    const { Credentials: c } = await sts.send(
      new AssumeRoleWithWebIdentityCommand({ RoleArn: place.roleArn, RoleSessionName: "test", WebIdentityToken: jwt }),
    );
    const s3 = openS3(cloud.url, {
      accessKeyId: c!.AccessKeyId!,
      secretAccessKey: c!.SecretAccessKey!,
      sessionToken: c!.SessionToken!,
    });
    try {
      const other = tenants().find(({ wallet }) => wallet !== tenant.wallet)!;
      const faults = await isolationFaults(place.bucket, [
        { ...tenant, s3 },
        { ...other, s3, name: "other" },
      ]);
      return faults.filter((fault) => fault.startsWith(tenant.name));
    } finally {
      s3.destroy();
    }
  }

  describe("Ceph's STS refuses a JWT of our broker", () => {
    test("unless it is as it was made", async () => {
      const [ada, bob] = await Promise.all(people.map(({ machine }) => tokenOf(machine)));
      const [header, , signature] = ada!.split(".");
      expect(await assume(ada!)).toBe("accepted");
      expect(await assume([header, bob!.split(".")[1], signature].join("."))).toBe(403);
      expect(await assume(`${ada!.slice(0, -6)}AAAAAA`)).toBe(403);
      expect(await assume([header, ada!.split(".")[1], ""].join("."))).toBe(403);
    });

    test("that lacks the wallet's tag", async () => {
      const { vault: demanding, mint } = await elsewhere("demanding", { demandTag: true });
      const [ada] = bothWallets();
      expect(await assume(await mint(ada!, true), demanding.roleArn)).toBe("accepted");
      expect(await assume(await mint(ada!, false), demanding.roleArn)).toBe(403);
    });

    test("that is for another audience", async () => {
      expect(await assume(await tokenOf(people[0]!.machine, "--audience", "other.example"))).toBe(403);
    });

    test("whose name another issuer took", async () => {
      const stranger = await startIssuer({ clock: Date.now });
      const forged = await stranger.mint({
        iss: system.broker.publicUrl,
        sub: `agentkeys:wallet:${people[0]!.signIn.wallet}`,
      });
      expect(await assume(forged)).toBe(403);
      await stranger.close();
    });

    test("of another deployment, and one that has expired", async () => {
      const front = await startX5cProxy();
      let behindMs = 6 * MINUTE;
      const clock = (): number => Date.now() - behindMs;
      const deployment = await startSystem({ front, clock });
      const machine = createMachine({ system: deployment, clock });
      await machine.signIn("ada@example.com", browser);

      const expired = await tokenOf(machine);
      behindMs = 0;
      const fresh = await tokenOf(machine);
      expect(await assume(fresh)).toBe(403);
      const { roleArn } = await prepareVault(cloud, deployment.broker.publicUrl, { name: "deployment" });
      expect(await assume(expired, roleArn)).toBe(403);
      expect(await assume(fresh, roleArn)).toBe("accepted");
      machine.remove();
      await deployment.close();
      await front.close();
    });
  });
});
