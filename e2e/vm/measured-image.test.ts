import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createServer, type Server } from "node:tls";

import { decodeJwt } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";

import { selfSigned } from "@agentkeys/lib/evidence/certificate";
import { systemRandom } from "@agentkeys/lib/random";
import { type Approval, approve, formatApprovals } from "@agentkeys/lib/tpm2";

import { buildImage, type Image, type Network } from "../../deploy/image/build.ts";
import { unpackKernel } from "../../deploy/image/kernel.ts";
import { freePorts } from "../harness/free-port.ts";
import { createMachine, type Machine, succeeded } from "../harness/machine.ts";
import { plainBrowser } from "../harness/plain-browser.ts";
import { startSystem, type System } from "../harness/system.ts";
import { createUndoStack } from "../harness/undo-stack.ts";
import { type NameServer, startNameServer } from "./name-server.ts";
import { type Boot, Hardware, missingForMachines } from "./virtual-machine.ts";

const root = resolve(import.meta.dirname, "..", "..");
const missing = missingForMachines();
if (missing !== undefined && process.env["CI"] === "true") throw new Error(`the measured image needs ${missing}`);
if (missing !== undefined)
  process.stdout.write(`SKIPPED: the measured image is not booted here, for want of ${missing}\n`);

const undo = createUndoStack();
const scratch = mkdtempSync(join(tmpdir(), "agentkeys-vm-"));
undo.add(() => rmSync(scratch, { recursive: true, force: true }));
const releaseKey = generateKeyPairSync("ec", { namedCurve: "P-256" });
let system: System;
let front: Server;
let port = 0;
let hardware: Hardware;
let machine: Machine;
/** The image, the same with one comment changed in the worker, and a next release, with a fixed address and a name server. */
let image: Image;
let changed: Image;
let next: Image;
let names: NameServer | undefined;

beforeAll(async () => {
  if (missing !== undefined) return;
  port = await freePorts();
  system = await startSystem({ scratch });
  undo.add(() => system.close());
  const frontKey = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const now = Date.now();
  const certificate = selfSigned({
    key: frontKey,
    subject: "broker.test",
    names: ["broker.test"],
    notBefore: new Date(now - 86_400_000),
    notAfter: new Date(now + 86_400_000),
    random: systemRandom,
  });
  front = await tlsFront(system.broker.url, {
    key: frontKey.export({ type: "pkcs8", format: "pem" }).toString(),
    cert: certificate.pem,
  });
  undo.add(() => void front.close());

  execFileSync(process.execPath, [join(root, "build.mjs"), "keys-tee"], { cwd: root, stdio: "ignore" });
  const worker = readFileSync(join(root, "dist", "keys-tee", "main.js"));
  unpackKernel(scratch);
  const inHosts = "127.0.0.1 localhost\n10.0.2.100 broker.test\n";
  const build = (release: string, bundle: Uint8Array, network: Network = "dhcp", hosts = inHosts): Image =>
    buildImage({
      kernel: scratch,
      release,
      network,
      node: process.execPath,
      worker: bundle,
      settings: [
        "AGENTKEYS_KEYS_BROKER_URL=https://broker.test:8091",
        `AGENTKEYS_KEYS_BROKER_ISSUER=${system.broker.publicUrl}`,
        `AGENTKEYS_KEYS_PUBLIC_URL=https://127.0.0.1:${port}`,
        "AGENTKEYS_TEE_SIGNER=signer-1.test",
        "",
      ].join("\n"),
      releaseKey: releaseKey.publicKey.export({ type: "spki", format: "pem" }).toString(),
      hosts,
      brokerCa: Buffer.from(certificate.pem),
    });
  image = build("1", worker);
  expect(build("1", worker).uki.equals(image.uki), "two builds of the same inputs are the same bytes").toBe(true);
  changed = build("1", Buffer.concat([worker, Buffer.from("// one comment\n")]));
  names = await startNameServer({ "broker.test": "10.0.2.100" });
  undo.add(() => names?.close());
  if (names === undefined) process.stdout.write("SKIPPED: the image's resolver is not used, for want of port 53\n");
  const fixed = { address: "10.0.2.15/24", gateway: "10.0.2.2", resolver: "10.0.2.2" };
  next = build("2", worker, fixed, names && "127.0.0.1 localhost\n");

  hardware = new Hardware();
  undo.add(() => hardware.remove());
  machine = createMachine({ system, scratch, env: { AGENTKEYS_KEYS_URL: `https://127.0.0.1:${port}` } });
  undo.add(() => machine.remove());
});

afterAll(() => undo.run());

test.skipIf(missing !== undefined)(
  "one machine's life: sealed, opened again, refused when changed, upgraded by the release key, the old release retired",
  async () => {
    const approvalOf = ({ measurements: { release, pcrs } }: Image, securityVersion = 1) =>
      approve(
        {
          release,
          securityVersion,
          pcrs: new Map(Object.entries(pcrs).map(([pcr, value]) => [Number(pcr), Buffer.from(value, "hex")])),
        },
        releaseKey.privateKey,
      );

    // The first start makes a master secret, since an operator said so, and seals it.
    hardware.put("approvals.json", formatApprovals([approvalOf(image)]));
    hardware.put("allow-genesis", "");
    const wallet = await whileOn(image, async (boot) => {
      expect(await boot.says(/by DHCP/)).toContain("10.0.2.15/24 by DHCP, router 10.0.2.2, resolver 10.0.2.3");
      await boot.says(/the clock is kept to the machine's own/);
      for (const line of CONFINED) expect(boot.console).toContainEqual(expect.stringContaining(line));
      succeeded(await machine.agentkeys("attest", "enroll", "--output", policyFile()));
      pinCode(image);
      machine.env["AGENTKEYS_ATTESTATION_POLICY"] = policyFile();
      succeeded(await machine.agentkeys("attest", "verify"));
      return (await machine.signIn("ada@example.com", plainBrowser())).wallet;
    });

    // The second start opens it: the same wallet signs, for the same policy. No person is needed.
    hardware.take("allow-genesis");
    await whileOn(image, async () => {
      expect(await walletInToken()).toBe(wallet);
    });

    await Promise.all([refusedHere(), refusedByDaemon(approvalOf(changed))]);

    // Once the release key approves it, the next release opens what the old one sealed, and retires that when an operator says so.
    hardware.put("approvals.json", formatApprovals([approvalOf(image), approvalOf(next, 2)]));
    hardware.put("retire-releases-before", "2\n");
    await whileOn(next, async (boot) => {
      expect(await boot.says(/as measured/)).toContain("10.0.2.15/24 as measured, router 10.0.2.2, resolver 10.0.2.2");
      pinCode(image, next);
      expect(await walletInToken()).toBe(wallet);
      if (names !== undefined) expect([...names.asked]).toContain("broker.test");
      expect(await boot.says(/releases that open the seal/)).toContain('"least":2');
    });

    // The old one was approved, and is on the disk still: the TPM opens the seal for it no more.
    hardware.take("retire-releases-before");
    expect(await whyItRefuses(/RETIRED/, image)).toContain("has security version 1, which was retired");
  },
);

/** On the machine that the image was sealed on, the TPM keeps the seal shut for what is not that image as it is. */
async function refusedHere(): Promise<void> {
  // One comment more in the worker.
  expect(await whyItRefuses(/MEASUREMENT/, changed)).toContain(changed.measurements.pcrs[11]);
  // The image itself, but with another command line, by which Node alone could be the first process and do what its owner likes.
  const why = await whyItRefuses(/MEASUREMENT/, image, { commandLine: "console=ttyS0 lockdown=confidentiality" });
  expect(why).toContain(`PCR 12 is `);
  expect(why).toContain(`PCR 4 is `);
}

/** On another machine with an empty disk it makes a master secret of its own, and the daemon will have nothing to do with it. */
async function refusedByDaemon(approval: Approval): Promise<void> {
  const other = new Hardware();
  try {
    other.put("approvals.json", formatApprovals([approval]));
    other.put("allow-genesis", "");
    await whileOn(
      changed,
      async () => {
        const { code, stderr } = await machine.agentkeys("token");
        expect(stderr).toMatch(/is not what the attestation policy demands/);
        expect(code).not.toBe(0);
      },
      other,
    );
  } finally {
    other.remove();
  }
}

/** What the worker says that ends with 42. Nobody asks it anything: its port is another, so that a second machine can be on. */
async function whyItRefuses(reason: RegExp, which: Image, how: { commandLine?: string } = {}): Promise<string> {
  const boot = hardware.boot(which.uki, { port: await freePorts(), broker: frontPort(), ...how });
  try {
    const why = await boot.says(reason);
    expect(await boot.says(/the key service ended with/)).toContain("ended with 42");
    await boot.off();
    return why;
  } finally {
    await boot.cut();
  }
}

/** What the first process says that it has set, each as it was read back. */
const CONFINED = [
  "lockdown: none integrity [confidentiality]",
  "kernel/core_pattern = ",
  "kernel/yama/ptrace_scope = 3",
  "kernel/kexec_load_disabled = 1",
  "kernel/panic_on_oops = 1",
  "kernel/dmesg_restrict = 1",
  "kernel/modules_disabled = 1",
  "/ and /dev are read-only",
  "key service: Uid:1000100010001000",
  "key service: CapEff:0000000000000000",
  "key service: CapBnd:0000000000000000",
  "key service: NoNewPrivs:1",
];

/** Whose token the machine gets, without a person: the worker has signed for it. */
async function walletInToken(): Promise<unknown> {
  const { jwt } = JSON.parse(succeeded(await machine.agentkeys("token", "--json"))) as { jwt: string };
  return decodeJwt(jwt)["agentkeys_user_wallet"];
}

/** Boots, waits until the worker serves, does the work, and pulls the plug. */
async function whileOn<T>(which: Image, work: (boot: Boot) => Promise<T>, on = hardware): Promise<T> {
  const boot = on.boot(which.uki, { port, broker: frontPort() });
  try {
    await boot.says(/"url":"https:/);
    return await work(boot);
  } catch (error) {
    throw new Error(`with this on its console:\n${boot.console.join("\n")}`, { cause: error });
  } finally {
    await boot.cut();
  }
}

function policyFile(): string {
  return join(scratch, "policy.json");
}

/** What a person does who reviews the policy: the code is the build's, not what the worker showed. */
function pinCode(...images: Image[]): void {
  const policy = JSON.parse(readFileSync(policyFile(), "utf8")) as { platforms: { code: Record<string, string[]> }[] };
  for (const platform of policy.platforms) {
    const pcrs = Object.keys(image.measurements.pcrs);
    platform.code = Object.fromEntries(
      pcrs.map((pcr) => [
        `pcr${pcr}`,
        [...new Set(images.map(({ measurements }) => measurements.pcrs[Number(pcr)] ?? ""))],
      ]),
    );
  }
  writeFileSync(policyFile(), JSON.stringify(policy), { mode: 0o600 });
}

/** The broker as the worker knows it: by TLS under a name that its image has the certificate of. */
async function tlsFront(url: string, identity: { key: string; cert: string }): Promise<Server> {
  const { hostname, port: target } = new URL(url);
  const server = createServer(identity, (socket) => {
    const behind: Socket = connect(Number(target), hostname);
    socket.pipe(behind).pipe(socket);
    socket.on("error", () => behind.destroy());
    behind.on("error", () => socket.destroy());
  });
  await new Promise<void>((done) => void server.listen(0, "127.0.0.1", done));
  return server;
}

function frontPort(): number {
  const address = front.address();
  if (address === null || typeof address === "string") throw new Error("the front does not listen");
  return address.port;
}
