import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type Cloud, startLocalCloud } from "./harness/cloud.ts";
import { isolationFaults, type Tenant } from "./harness/isolation.ts";
import { createMachine, type Machine, type SignIn } from "./harness/machine.ts";
import { plainBrowser } from "./harness/plain-browser.ts";
import { walletPolicy } from "./harness/policies.ts";
import { startSystem, type System } from "./harness/system.ts";
import { openS3, prepareVault, type Vault } from "./harness/vault.ts";
import { filesWithWalletKey } from "./harness/wallet-key-search.ts";

const masterSecret = "5ec4e7".padEnd(64, "0123456789abcdef");

let system: System;
let cloud: Cloud;
let vault: Vault;
const people: { name: string; machine: Machine; signIn: SignIn; tenant: Tenant; secrets: string[] }[] = [];

beforeAll(async () => {
  [system, cloud] = await Promise.all([startSystem({ masterSecret }), startLocalCloud()]);
  vault = await prepareVault(cloud, system.broker.publicUrl);
  for (const name of ["Ada", "Bob"]) {
    const env = { AGENTKEYS_AWS_ROLE_ARN: vault.roleArn, AWS_ENDPOINT_URL_STS: cloud.url };
    const machine = createMachine({ system, env });
    const signIn = await machine.signIn(`${name.toLowerCase()}@example.com`, plainBrowser());
    const credentials = await machine.credentials();
    const tenant = { name, wallet: signIn.wallet, s3: openS3(cloud.url, credentials) };
    const secrets = [credentials.secretAccessKey, credentials.sessionToken];
    people.push({ name, machine, signIn, tenant, secrets });
  }
});
afterAll(async () => {
  for (const { machine, tenant } of people) {
    tenant.s3.destroy();
    machine.remove();
  }
  await Promise.all([system.close(), cloud.close()]);
});

const tenants = (): Tenant[] => people.map(({ tenant }) => tenant);

describe("from an e-mail address to S3", () => {
  test("the page shows the terminal's code, the address and the machine's name", () => {
    for (const { name, signIn } of people) {
      expect(signIn.visit.review).toContain(signIn.code);
      expect(signIn.visit.review).toContain(`${name.toLowerCase()}@example.com`);
      expect(signIn.visit.review).toContain("test-machine");
    }
  });

  test("two people have their own places, and neither can use the other's", async () => {
    expect(await isolationFaults(vault.bucket, tenants())).toEqual([]);
  });

  test("the JWT is about the wallet, in lower case, and its session tags say so to AWS", async () => {
    for (const { machine, signIn } of people) {
      const claims = decodeJwt((await machine.agentkeys("token")).stdout.trim());
      expect(claims).toMatchObject({
        iss: system.broker.publicUrl,
        sub: `agentkeys:wallet:${signIn.wallet}`,
        aud: "sts.amazonaws.com",
        agentkeys_user_wallet: signIn.wallet,
        "https://aws.amazon.com/tags": { principal_tags: { agentkeys_user_wallet: [signIn.wallet] } },
      });
      expect(claims["agentkeys_actor_omni"]).not.toBe(signIn.omniAccount);
    }
  });

  test("signing in on another machine reaches the same wallet", async () => {
    const second = createMachine({ system });
    const again = await second.signIn(" ADA@Example.com ", plainBrowser());
    expect([again.omniAccount, again.wallet]).toEqual([people[0]!.signIn.omniAccount, people[0]!.signIn.wallet]);
    second.remove();
  });
});

describe("the isolation test itself fails when", () => {
  test("the condition is taken away", async () => {
    const text = JSON.stringify(walletPolicy({ bucket: vault.bucket, dialect: "aws" }));
    await vault.setPolicy(JSON.parse(text.replace(/\$\{[^}]*\}/g, "*")) as ReturnType<typeof walletPolicy>);
    try {
      expect(await isolationFaults(vault.bucket, tenants())).toContain("Ada get at Bob's: OK");
    } finally {
      await vault.setPolicy(walletPolicy({ bucket: vault.bucket, dialect: "aws" }));
    }
  });

  test("the tag is taken away", async () => {
    const text = JSON.stringify(walletPolicy({ bucket: vault.bucket, dialect: "aws" }));
    await vault.setPolicy(
      JSON.parse(text.replaceAll("PrincipalTag/", "PrincipalTag/no_")) as ReturnType<typeof walletPolicy>,
    );
    try {
      expect(await isolationFaults(vault.bucket, tenants())).toContain("Ada put at Ada's: AccessDenied");
    } finally {
      await vault.setPolicy(walletPolicy({ bucket: vault.bucket, dialect: "aws" }));
    }
  });

  test("the second person is taken away", async () => {
    const [ada] = tenants();
    expect(await isolationFaults(vault.bucket, [ada!])).toEqual(["there are no two different wallets"]);
    const faults = await isolationFaults(vault.bucket, [ada!, { ...ada!, name: "Ada again" }]);
    expect(faults).toContain("Ada get at Ada again's: OK");
  });
});

describe("nothing is left lying about", () => {
  test("no machine keeps its wallet's key", () => {
    for (const { machine, signIn } of people) {
      const { searched, found } = filesWithWalletKey(machine.folder, signIn.wallet);
      expect(searched).toBeGreaterThan(1);
      expect(found).toEqual([]);
    }
  });

  test("no log has a token, a link's secret, a key or a credential in it", () => {
    const log = system.logged.join("");
    expect(log).toContain("MintOidcJwt");
    expect(log).not.toContain(masterSecret);
    // Any JWT or JWE begins so.
    expect(log).not.toMatch(/eyJ[\w-]{10}/);
    expect(log).not.toMatch(/\/login#/);
    for (const secret of people.flatMap(({ secrets }) => secrets)) expect(log).not.toContain(secret);
  });
});

describe("what must not exist", () => {
  test.each(["/v1/auth/exchange", "/session/validate", "/v1/session/validate"])("%s does not", async (path) => {
    for (const url of [system.broker.url, system.keys.url]) {
      for (const method of ["GET", "POST"]) {
        expect((await fetch(url + path, { method, ...(method === "POST" && { body: "{}" }) })).status).toBe(404);
      }
    }
  });

  test("`agentkeys init --mock-token` does not", async () => {
    const { code, stderr } = await people[0]!.machine.agentkeys("init", "--mock-token");
    expect(code).toBe(2);
    expect(stderr).toContain("--mock-token");
  });
});
