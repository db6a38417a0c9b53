import { spawnSync } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import {
  anyOf,
  approvalReference,
  approve,
  counterName,
  create,
  defineCounter,
  incrementCounter,
  load,
  MAX_SECURITY_VERSION,
  nameOf,
  policyAuthorize,
  policyCounterAtMost,
  policyDigest,
  policyOfAuthorization,
  policyOfPcrs,
  policyOr,
  policyPcr,
  policyWithCounterAtMost,
  readCounter,
  readNvPublic,
  readPcrs,
  startSession,
  storageRoot,
  template,
  type TpmSequence,
  type TpmSession,
  undefineNv,
  unseal,
  type WrappedObject,
} from "./index.ts";
import { permanent } from "./client.ts";
import { commandCode, handle, nvAttribute } from "./constants.ts";
import { hashNumber } from "./hash.ts";
import { TpmWriter } from "./marshal.ts";
import { refusal, tpmForEachTest } from "./testing/each-test.ts";
import { hasSwtpm } from "./testing/swtpm.ts";

const COUNTER = 0x01800a02;
const PCR = 12;
const START = Buffer.alloc(32);

describe.skipIf(!hasSwtpm("lib/tpm2, counters in policies", process.env))("a seal that a counter closes", () => {
  const bench = tpmForEachTest();
  afterEach(() => bench.tpm.use((t) => undefineNv(t, COUNTER)));

  const inSession = <T>(use: (t: TpmSequence, session: TpmSession) => Promise<T>): Promise<T> =>
    bench.tpm.use(async (t) => use(t, await startSession(t, "hmac", await storageRoot(t))));
  const increment = (): Promise<void> => inSession((t, session) => incrementCounter(t, COUNTER, session));
  const define = async (): Promise<bigint> => {
    await bench.tpm.use((t) => defineCounter(t, COUNTER));
    await increment();
    return (await inSession((t, session) => readCounter(t, COUNTER, session))) ?? 0n;
  };
  const seal = (policy: Uint8Array, secret: Uint8Array): Promise<WrappedObject> =>
    inSession(async (t, session) => create(t, await storageRoot(t), template.sealedData(policy), secret, session));
  const open = (object: WrappedObject, limit: bigint): Promise<Buffer> =>
    bench.tpm.use(async (t) => {
      const root = await storageRoot(t);
      const session = await startSession(t, "policy", root);
      await policyCounterAtMost(t, session, COUNTER, limit);
      return unseal(t, await load(t, root, object), session);
    });

  test("opens up to the limit and not beyond, also for who deletes the counter and makes it anew", async () => {
    const secret = randomBytes(32);
    const limit = (await define()) + 1n;
    const sealed = await seal(policyWithCounterAtMost(START, counterName(COUNTER), limit), secret);
    expect(await open(sealed, limit)).toEqual(secret);
    await increment();
    expect(await open(sealed, limit)).toEqual(secret);
    await increment();
    expect((await refusal(open(sealed, limit))).is("policy")).toBe(true);
    // Who asks for a limit that the counter meets meets another policy.
    expect((await refusal(open(sealed, limit + 1n))).is("policyFail")).toBe(true);

    const before = await bench.tpm.use((t) => readNvPublic(t, COUNTER));
    await bench.tpm.use((t) => undefineNv(t, COUNTER));
    expect((await refusal(open(sealed, limit))).is("handle")).toBe(true);
    await bench.tpm.use((t) => defineCounter(t, COUNTER));
    expect((await refusal(open(sealed, limit))).is("nvUnwritten")).toBe(true);
    await increment();
    const after = await bench.tpm.use((t) => readNvPublic(t, COUNTER));
    expect([before?.name, after?.name]).toEqual([counterName(COUNTER), counterName(COUNTER)]);
    expect((await refusal(open(sealed, limit))).is("policy")).toBe(true);
  });

  test("opens for no index of another kind in the counter's place, whatever is written there", async () => {
    const limit = await define();
    const sealed = await seal(policyWithCounterAtMost(START, counterName(COUNTER), limit), randomBytes(32));
    await increment();
    await bench.tpm.use(async (t) => {
      await undefineNv(t, COUNTER);
      const attributes = nvAttribute.authRead | nvAttribute.authWrite | nvAttribute.noDictionaryAttackProtection;
      const area = new TpmWriter().u32(COUNTER).u16(hashNumber("sha256")).u32(attributes).u16(0).u16(8).done();
      await t.execute({
        code: commandCode.nvDefineSpace,
        entities: [permanent(handle.owner)],
        authorizations: ["empty-password"],
        parameters: new TpmWriter().u16(0).sized(area).done(),
      });
      await t.execute({
        code: commandCode.nvWrite,
        entities: [permanent(COUNTER), permanent(COUNTER)],
        authorizations: ["empty-password"],
        parameters: new TpmWriter().sized(Buffer.alloc(8)).u16(0).done(),
      });
    });
    // The comparison holds, since 0 is not beyond the limit; the name is another.
    expect((await refusal(open(sealed, limit))).is("policyFail")).toBe(true);
  });

  test("computes policies of counters and alternatives as we do without it", async () => {
    const limit = (await define()) + 3n;
    const policies = Array.from({ length: 64 }, (_, each) =>
      policyWithCounterAtMost(START, counterName(COUNTER), limit + BigInt(each)),
    );
    const any = anyOf(policies);
    await bench.tpm.use(async (t) => {
      const root = await storageRoot(t);
      for (const place of [0, 7, 8, 63]) {
        const session = await startSession(t, "policy", root);
        await policyCounterAtMost(t, session, COUNTER, limit + BigInt(place));
        expect(await policyDigest(t, session)).toEqual(policies[place]);
        for (const step of any.steps(place)) await policyOr(t, session, step);
        expect(await policyDigest(t, session)).toEqual(any.digest);
        await t.flush(session);
      }
      const session = await startSession(t, "policy", root);
      await policyCounterAtMost(t, session, COUNTER, limit);
      const elsewhere = any.steps(8)[0] ?? [];
      expect((await refusal(policyOr(t, session, elsewhere))).is("value")).toBe(true);
    });
  });

  test("asks for the policy that tpm2-tools compute too, from PCR to alternatives", async () => {
    const value = await define();
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const pcrs = await bench.tpm.use((t) => readPcrs(t, [PCR]));
    const approval = approve({ release: "1", securityVersion: 7, pcrs }, privateKey);
    const key = template.verificationKey(publicKey);
    const reference = approvalReference(7);
    const expected = {
      pcr: policyOfPcrs(pcrs),
      authorized: policyOfAuthorization(nameOf(key), reference),
    };
    const counted = policyWithCounterAtMost(expected.authorized, counterName(COUNTER), value);
    const any = anyOf([counted, ...Array.from({ length: 7 }, (_, each) => Buffer.alloc(32, each + 1))]);

    // The TPM itself first: each step of a real session.
    await bench.tpm.use(async (t) => {
      const session = await startSession(t, "policy", await storageRoot(t));
      await policyPcr(t, session, [PCR]);
      await policyAuthorize(t, session, { key, policy: expected.pcr, reference, signature: approval.signature });
      expect(await policyDigest(t, session)).toEqual(expected.authorized);
      await policyCounterAtMost(t, session, COUNTER, value);
      for (const step of any.steps(0)) await policyOr(t, session, step);
      expect(await policyDigest(t, session)).toEqual(any.digest);
    });

    if (spawnSync("tpm2_policynv", ["--version"]).error !== undefined && process.env["CI"] !== "true") {
      process.stderr.write("SKIPPED: the second opinion of tpm2-tools on policies: they are not installed\n");
      return;
    }
    await bench.tpm.close();
    const folder = mkdtempSync(join(tmpdir(), "agentkeys-policy-"));
    try {
      const file = (name: string, contents?: Uint8Array): string => {
        if (contents !== undefined) writeFileSync(join(folder, name), contents);
        return join(folder, name);
      };
      // tpm2-tools speak to a program here, which passes it on to the socket.
      const relay = `const s=require("net").connect(process.argv[1]);process.stdin.pipe(s);s.pipe(process.stdout)`;
      const tcti = `cmd:${process.execPath} -e '${relay}' ${bench.machine.address.unix}`;
      const tool = (name: string, ...args: string[]): void => {
        const ran = spawnSync(name, args, { env: { ...process.env, TPM2TOOLS_TCTI: tcti }, encoding: "utf8" });
        expect({ name, status: ran.status, said: ran.stderr.replace(/^WARN.*$/gm, "").trim() }).toMatchObject({
          status: 0,
        });
      };
      const session = file("session");
      tool("tpm2_startauthsession", "-S", session);
      tool("tpm2_policypcr", "-S", session, "-l", `sha256:${PCR}`, "-L", file("pcr"));
      const name = file("name", nameOf(key));
      const qualified = ["-q", file("reference", reference), "-n", name, "-i", file("pcr")];
      tool("tpm2_policyauthorize", "-S", session, "-L", file("authorized"), ...qualified);
      const operand = Buffer.alloc(8);
      operand.writeBigUInt64BE(value);
      const index = `0x${COUNTER.toString(16)}`;
      tool(
        "tpm2_policynv",
        "-S",
        session,
        "-L",
        file("counted"),
        "-C",
        index,
        "-i",
        file("operand", operand),
        index,
        "ule",
      );
      const list = (any.steps(0)[0] ?? []).map((policy, each) => file(`branch${each}`, policy));
      tool("tpm2_policyor", "-S", session, "-L", file("any"), `sha256:${list.join(",")}`);
      tool("tpm2_flushcontext", session);
      const found = ["pcr", "authorized", "counted", "any"].map((step) => readFileSync(file(step)).toString("hex"));
      expect(found).toEqual(
        [expected.pcr, expected.authorized, counted, any.digest].map((policy) => policy.toString("hex")),
      );
    } finally {
      rmSync(folder, { recursive: true });
      bench.tpm = await bench.machine.open({ tap: bench.tap });
    }
  });
});

describe("alternatives", () => {
  test("are 8, 64 or 512, and each place has its own way up", () => {
    const policies = (length: number): Buffer[] =>
      Array.from({ length }, (_, each) => Buffer.from(each.toString(16).padStart(64, "0"), "hex"));
    for (const wrong of [0, 1, 7, 9, 63, 65, 128]) expect(() => anyOf(policies(wrong))).toThrow("8, 64, 512");
    const any = anyOf(policies(512));
    for (const place of [0, 1, 8, 63, 64, 200, 511]) {
      const steps = any.steps(place);
      expect(steps.map(({ length }) => length)).toEqual([8, 8, 8]);
      expect(steps[0]).toContainEqual(policies(512)[place]);
    }
    expect(anyOf(policies(512).reverse()).digest).not.toEqual(any.digest);
  });
});

describe("an approval", () => {
  test("has a security version that fits, and a reference that a TPM of SHA-256 takes", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const pcrs = new Map([[11, Buffer.alloc(32)]]);
    for (const securityVersion of [-1, 1.5, MAX_SECURITY_VERSION + 1, Number.NaN]) {
      expect(() => approve({ release: "1", securityVersion, pcrs }, privateKey)).toThrow("a security version is");
    }
    expect(approvalReference(MAX_SECURITY_VERSION).length).toBeLessThanOrEqual(32);
  });
});
