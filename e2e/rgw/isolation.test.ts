import { GetObjectCommand, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { isolationFaults, type Tenant } from "../harness/isolation.ts";
import { type Policy, WALLET_TAG, walletPolicy } from "../harness/policies.ts";
import { openS3 } from "../harness/vault.ts";
import { type OtherIssuer, trustOtherIssuer } from "./other-issuer.ts";
import { announceSkip, missingForRgw } from "./requirements.ts";
import { type RgwStage, startRgwStage } from "./stage.ts";

const skip = announceSkip(missingForRgw(process.env));

describe.skipIf(skip)("two people on Ceph's STS and S3, with a real mail server and a real browser", () => {
  let stage: RgwStage;
  let tenants: Tenant[];
  beforeAll(async () => {
    stage = await startRgwStage();
    tenants = stage.people.map(({ tenant }) => tenant);
  });
  afterAll(() => stage.close());

  const usualPolicy = (): Policy =>
    walletPolicy({ bucket: stage.vault.bucket, dialect: "rgw", wallets: tenants.map(({ wallet }) => wallet) });

  /** Does something while the role has another policy. */
  async function during<T>(policy: Policy, work: () => Promise<T>): Promise<T> {
    await stage.vault.setPolicy(policy);
    try {
      return await work();
    } finally {
      await stage.vault.setPolicy(usualPolicy());
    }
  }

  test("see their terminal's code on the page, and what they confirm", () => {
    for (const { signIn } of stage.people) {
      expect(signIn.visit.review).toContain(signIn.code);
      expect(signIn.visit.outcome).toContain("Signed in");
    }
  });

  test("have their own places, and neither can use the other's", async () => {
    expect(await isolationFaults(stage.vault.bucket, tenants)).toEqual([]);
  });

  test("own what they tagged as theirs, under one statement for everybody that takes the wallet from the JWT", async () => {
    const Resource = [`arn:aws:s3:::${stage.vault.bucket}/*`];
    const is = (key: string) => ({ StringEquals: { [`s3:${key}/owner`]: `\${aws:PrincipalTag/${WALLET_TAG}}` } });
    const byObjectTag: Policy = {
      Version: "2012-10-17",
      Statement: [
        {
          Effect: "Allow",
          Action: ["s3:PutObject", "s3:PutObjectTagging"],
          Resource,
          Condition: is("RequestObjectTag"),
        },
        { Effect: "Allow", Action: ["s3:GetObject"], Resource, Condition: is("ExistingObjectTag") },
      ],
    };
    const put = (s3: S3Client, Key: string, owner: string): Promise<string> => {
      const command = new PutObjectCommand({ Bucket: stage.vault.bucket, Key, Body: "x", Tagging: `owner=${owner}` });
      return outcome(s3.send(command));
    };
    const get = (s3: S3Client, Key: string): Promise<string> =>
      outcome(s3.send(new GetObjectCommand({ Bucket: stage.vault.bucket, Key })));

    await during(byObjectTag, async () => {
      const [ada, bob] = tenants as [Tenant, Tenant];
      expect(await put(ada.s3, "of-ada", ada.wallet)).toBe("OK");
      expect(await put(bob.s3, "of-bob", bob.wallet)).toBe("OK");
      expect(await put(ada.s3, "forged", bob.wallet)).toBe("AccessDenied");
      expect([await get(ada.s3, "of-ada"), await get(bob.s3, "of-bob")]).toEqual(["OK", "OK"]);
      expect([await get(ada.s3, "of-bob"), await get(bob.s3, "of-ada")]).toEqual(["AccessDenied", "AccessDenied"]);
    });
  });

  describe("whose isolation test fails when", () => {
    const faultsDuring = (policy: Policy): Promise<string[]> =>
      during(policy, () => isolationFaults(stage.vault.bucket, tenants));

    test("the condition is taken away", async () => {
      const policy = usualPolicy();
      for (const statement of policy.Statement) delete statement.Condition?.["StringEquals"];
      expect(await faultsDuring(policy)).toContain("Bob get at Ada's: OK");
    });

    test("a broad grant is left on the role", async () => {
      const Resource = [`arn:aws:s3:::${stage.vault.bucket}/*`];
      const policy = usualPolicy();
      policy.Statement.push({ Effect: "Allow", Action: ["s3:*"], Resource });
      expect(await faultsDuring(policy)).toContain("Ada put at Bob's: OK");
    });

    test("the tag is taken away from the token", async () => {
      const issuer = await trustOtherIssuer(stage.cloud, { name: "tagless", demandTag: false });
      await issuer.vault.admit(tenants.map(({ wallet }) => wallet));
      expect(await faultsByTokensOf(issuer, { tagged: true })).toEqual([]);
      expect(await faultsByTokensOf(issuer, { tagged: false })).toContain("Ada put at Ada's: AccessDenied");
      await issuer.close();
    });

    test("the second person is taken away", async () => {
      const [ada] = tenants;
      const faults = await isolationFaults(stage.vault.bucket, [ada!, { ...ada!, name: "Ada again" }]);
      expect(faults).toContain("there are no two different wallets");
      expect(faults).toContain("Ada get at Ada again's: OK");
    });
  });

  async function faultsByTokensOf(issuer: OtherIssuer, o: { tagged: boolean }): Promise<string[]> {
    const others: Tenant[] = [];
    for (const { name, wallet } of tenants) {
      const credentials = await stage.assume(await issuer.mint(wallet, o), issuer.vault.roleArn);
      others.push({ name, wallet, s3: openS3(stage.cloud.url, credentials) });
    }
    const faults = await isolationFaults(issuer.vault.bucket, others);
    for (const { s3 } of others) s3.destroy();
    return faults;
  }
});

async function outcome(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "OK",
    (error: unknown) => (error instanceof Error ? error.name : String(error)),
  );
}
