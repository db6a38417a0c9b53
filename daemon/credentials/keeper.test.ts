import { beforeEach, describe, expect, test } from "vitest";

import { HOUR, MINUTE, SECOND } from "@agentkeys/lib/clock";
import { createLog } from "@agentkeys/lib/log";
import { Secret } from "@agentkeys/lib/secret";

import { notSignedIn } from "../state/index.ts";
import { Problem } from "../problem.ts";
import type { Enrolment } from "../state/index.ts";
import { credentialsOf } from "../testing/credentials.ts";
import { createVirtualTime, type VirtualTime } from "../testing/virtual-time.ts";
import type { AwsCredentials } from "./aws-credentials.ts";
import { type CredentialKeeper, keepCredentials } from "./keeper.ts";

let time: VirtualTime;
let lines: string[];
let enrolled: Enrolment | Problem;
let obtain: () => Promise<AwsCredentials>;
let fetched: number;
let keeper: CredentialKeeper;

beforeEach(() => {
  time = createVirtualTime();
  lines = [];
  enrolled = enrolmentOf("ada", "key-1");
  fetched = 0;
  obtain = () => Promise.resolve(credentialsOf(time.clock(), HOUR, `ASIA${fetched}`));
});

function start(): void {
  keeper = keepCredentials({
    obtain: () => {
      fetched++;
      return obtain();
    },
    sessions: {
      current: () => (enrolled instanceof Problem ? Promise.reject(enrolled) : Promise.resolve(enrolled)),
    },
    clock: time.clock,
    sleep: time.sleep,
    random: (length) => new Uint8Array(length),
    log: createLog("agentkeys", { level: "info", destination: { write: (line) => void lines.push(line) } }),
  });
}

function enrolmentOf(account: string, device: string): Enrolment {
  return {
    brokerUrl: "http://127.0.0.1:1",
    issuer: "http://127.0.0.1:1",
    omniAccount: account as Enrolment["omniAccount"],
    identity: { type: "email", value: `${account}@example.com` },
    session: { token: new Secret("t"), obtainedAt: 0, expiresAt: Infinity },
    deviceKey: new Secret({ x: device }),
  };
}

const offered = async (): Promise<string> => {
  const offer = await keeper.offer();
  return "credentials" in offer ? offer.credentials.accessKeyId : offer.trouble.reason;
};

describe("a keeper of credentials", () => {
  test("has fresh ones all the time, and fetches them no more often than it must", async () => {
    start();
    await keeper.started;
    for (let i = 0; i < 4 * 60; i++) {
      await time.advance(MINUTE);
      const offer = await keeper.offer();
      if (!("credentials" in offer)) throw new Error(offer.trouble.text);
      expect(offer.credentials.expiresAt - time.clock()).toBeGreaterThan(19 * MINUTE);
    }
    expect(fetched).toBe(1 + (4 * 60) / 40);
  });

  test("asks again soon after the broker was away, and hands out what still works meanwhile", async () => {
    start();
    await keeper.started;
    const healthy = obtain;
    obtain = () => Promise.reject(new Problem("BROKER_UNREACHABLE", "passing", "It is away."));
    await time.advance(50 * MINUTE);
    expect(await offered()).toBe("ASIA1");
    expect(fetched).toBeGreaterThan(10);
    obtain = healthy;
    await time.advance(MINUTE);
    expect(await offered()).toBe(`ASIA${fetched}`);
    expect(lines.filter((line) => line.includes("BROKER_UNREACHABLE"))).toHaveLength(fetched - 2);
  });

  test("says why there is nothing, once what it had has expired", async () => {
    start();
    await keeper.started;
    obtain = () => Promise.reject(new Problem("STS_REFUSED", "standing", "No.", { remedy: "Mend it." }));
    await time.advance(HOUR);
    expect(await keeper.offer()).toEqual({
      trouble: { reason: "STS_REFUSED", kind: "standing", text: "No. Mend it." },
    });
  });

  test("hands out nothing any more within seconds of a sign-out, and goes on after a sign-in by itself", async () => {
    start();
    await keeper.started;
    enrolled = notSignedIn();
    obtain = () => Promise.reject(notSignedIn());
    expect(await offered()).toBe("NOT_SIGNED_IN");
    await time.advance(HOUR);

    enrolled = enrolmentOf("bob", "key-2");
    obtain = () => Promise.resolve(credentialsOf(time.clock(), HOUR, "ASIABOB"));
    await time.advance(5 * SECOND);
    expect(await offered()).toBe("ASIABOB");
  });

  test("never hands out one account's credentials to another, even if those come in late", async () => {
    let arrive: (credentials: AwsCredentials) => void = () => undefined;
    obtain = () => new Promise((resolve) => (arrive = resolve));
    start();
    await time.settle();
    const late = arrive;
    enrolled = enrolmentOf("bob", "key-2");
    await time.advance(5 * SECOND);
    late(credentialsOf(time.clock(), HOUR, "ASIAADA"));
    await time.settle();
    arrive(credentialsOf(time.clock(), HOUR, "ASIABOB"));
    await time.settle();
    expect(await offered()).toBe("ASIABOB");
  });

  test("goes on with a new sign-in of the same account", async () => {
    obtain = () => Promise.reject(new Problem("SESSION_EXPIRED", "sign-in", "It has ended."));
    start();
    await keeper.started;
    expect(await offered()).toBe("SESSION_EXPIRED");
    enrolled = enrolmentOf("ada", "key-2");
    obtain = () => Promise.resolve(credentialsOf(time.clock(), HOUR, "ASIANEW"));
    await time.advance(5 * SECOND);
    expect(await offered()).toBe("ASIANEW");
  });

  test("makes who asks wait for a refresh that is under way, but not for long", async () => {
    obtain = () => new Promise(() => undefined);
    start();
    const asked = offered();
    await time.advance(SECOND);
    expect(await asked).toBe("STARTING");
  });

  test("notices at once what expired while the machine slept", async () => {
    start();
    await keeper.started;
    await time.settle();
    time.oversleep(8 * HOUR);
    expect(await offered()).toBe("ASIA2");
  });

  test("starts nothing more once it is closed", async () => {
    start();
    await keeper.started;
    await keeper.close();
    await time.advance(24 * HOUR);
    expect(fetched).toBe(1);
  });
});
