import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { startIssuer } from "../harness/issuer.ts";
import { createMachine } from "../harness/machine.ts";
import { startSystem } from "../harness/system.ts";
import { prepareVault } from "../harness/vault.ts";
import { trustOtherIssuer } from "./other-issuer.ts";
import { announceSkip, missingForRgw } from "./requirements.ts";
import { type RgwStage, startRgwStage } from "./stage.ts";
import { startX5cProxy } from "./x5c-proxy.ts";

const skip = announceSkip(missingForRgw(process.env));
const MINUTE = 60_000;

describe.skipIf(skip)("Ceph's STS refuses a JWT", () => {
  let stage: RgwStage;
  beforeAll(async () => {
    stage = await startRgwStage();
  });
  afterAll(() => stage.close());

  /** `"accepted"`, or the HTTP status. */
  async function judged(jwt: string, roleArn?: string): Promise<string | number> {
    return stage.assume(jwt, roleArn).then(
      () => "accepted",
      (error: unknown) =>
        (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode ?? String(error),
    );
  }

  test("of our broker's that is not as it was made", async () => {
    const [ada, bob] = await Promise.all(stage.people.map(({ machine }) => stage.tokenOf(machine)));
    const [header, payload, signature] = ada!.split(".");
    const bobsPayload = bob!.split(".")[1];
    expect(await judged(ada!)).toBe("accepted");
    expect(await judged([header, bobsPayload, signature].join("."))).toBe(403);
    expect(await judged([header, payload, signature!.slice(0, -6) + "AAAAAA"].join("."))).toBe(403);
    expect(await judged([header, payload, ""].join("."))).toBe(403);
  });

  test("of our broker's that is for another audience", async () => {
    expect(await judged(await stage.tokenOf(stage.people[0].machine, "--audience", "other.example"))).toBe(403);
  });

  test("by somebody who calls themselves our broker", async () => {
    const stranger = await startIssuer({ clock: Date.now });
    const sub = `agentkeys:wallet:${stage.people[0].tenant.wallet}`;
    expect(await judged(await stranger.mint({ iss: stage.system.broker.publicUrl, sub }))).toBe(403);
    await stranger.close();
  });

  test("without the wallet's tag", async () => {
    const { vault, mint, close } = await trustOtherIssuer(stage.cloud, { name: "demanding", demandTag: true });
    const { wallet } = stage.people[0].tenant;
    expect(await judged(await mint(wallet, { tagged: true }), vault.roleArn)).toBe("accepted");
    expect(await judged(await mint(wallet, { tagged: false }), vault.roleArn)).toBe(403);
    await close();
  });

  test("of another deployment's, which nobody registered, and one of its that has expired", async () => {
    const front = await startX5cProxy();
    let behindMs = 6 * MINUTE;
    const clock = (): number => Date.now() - behindMs;
    const deployment = await startSystem({ front, clock });
    const machine = createMachine({ system: deployment, clock });
    await machine.signIn("ada@example.com", stage.browser);

    const expired = await stage.tokenOf(machine);
    behindMs = 0;
    const fresh = await stage.tokenOf(machine);
    expect(await judged(fresh)).toBe(403);
    const { roleArn } = await prepareVault(stage.cloud, deployment.broker.publicUrl, { name: "deployment" });
    expect(await judged(expired, roleArn)).toBe(403);
    expect(await judged(fresh, roleArn)).toBe("accepted");
    machine.remove();
    await deployment.close();
    await front.close();
  });
});
