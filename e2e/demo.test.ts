import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test, vi } from "vitest";

import { type Program, startProgram } from "./daemon/program.ts";
import { fromSources } from "./harness/from-sources.ts";

// A compiler with an empty cache, on a machine with other things to do.
vi.setConfig({ testTimeout: 90_000 });

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "agentkeys-demo-test-"));
});
const programs: Program[] = [];
afterAll(() => {
  for (const { process } of programs) process.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** What is in the folder, which is home and for temporary files at once, but for the compiler's own. */
const leftBehind = (): string[] => readdirSync(folder).filter((name) => !name.startsWith("tsx-"));

/** `npm run demo` as a process of its own, which finds neither Ceph nor any setting. */
function startDemo(...args: string[]): Program {
  const env = { PATH: folder, HOME: folder, TMPDIR: folder, AWS_PROFILE: "nobody" };
  const program = startProgram([...fromSources("e2e/demo.ts"), ...args], { env, cwd: folder });
  programs.push(program);
  return program;
}

test("the demo shows the whole job on a machine with neither Ceph nor settings, and leaves nothing behind", async () => {
  const demo = startDemo("--aws", "local");
  expect(await demo.ended, demo.stdout() + demo.stderr()).toBe(0);
  const shown = demo.stdout();
  expect(shown).toContain("a local stand-in for AWS STS, IAM and S3, not AWS");
  const steps = ["mail", "press", "session", "derive", "link", "challenge", "sign", "verify", "mint", "assume role"];
  for (const step of [...steps, "no wallet key"]) expect(shown.split(`✓ ${step.padEnd(14)}`)).toHaveLength(3);
  expect(shown).toMatch(/Ada +put get list OK +put get list AccessDenied\n/);
  expect(shown).toMatch(/Bob +put get list AccessDenied +put get list OK\n/);
  // eslint-disable-next-line no-control-regex -- escape sequences are for terminals only
  expect(shown).not.toMatch(/\u001b/);
  expect(leftBehind()).toEqual([]);
});

test("the demo that is broken off leaves nothing behind either", async () => {
  const demo = startDemo("--aws", "local");
  await demo.says(/✓ session/);
  demo.process.kill("SIGINT");
  expect(await demo.ended).toBe(130);
  expect(leftBehind()).toEqual([]);
});

test("the demo that cannot do what it is told says why and fails", async () => {
  const demo = startDemo("--aws", "rgw");
  expect(await demo.ended).toBe(1);
  expect(demo.stdout()).toContain("✗ failed: --aws rgw needs radosgw");
  expect(leftBehind()).toEqual([]);
});

test("the demo on the TEE worker says what it lacks where there is no software TPM", async () => {
  const demo = startDemo("--aws", "local", "--tee");
  expect(await demo.ended).toBe(1);
  expect(demo.stdout()).toContain("✗ failed: --tee needs swtpm: apt-get install");
  expect(leftBehind()).toEqual([]);
});

test("a choice that there is not is a wrong command line", async () => {
  const demo = startDemo("--aws", "mars");
  expect(await demo.ended).toBe(2);
  expect(demo.stderr()).toContain("There is no --aws mars");
});
