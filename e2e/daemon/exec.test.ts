import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type Enrolled, startEnrolled } from "./enrolled.ts";
import type { Program } from "./program.ts";

let ada: Enrolled;
beforeAll(async () => {
  ada = await startEnrolled();
});
afterAll(() => ada.close());

/** A person's own keys, everywhere that AWS's SDKs would look first. */
const ownKeys = {
  AWS_ACCESS_KEY_ID: "AKIAPERSON",
  AWS_SECRET_ACCESS_KEY: "person",
  AWS_PROFILE: "person",
  DEV_KEY_SERVICE_MASTER_SECRET: "m".repeat(64),
};

function exec(...command: string[]): Program {
  return ada.start(["exec", "--", ...command], { env: ownKeys });
}

/** An agent: a program with an AWS SDK that knows nothing of us. */
function agent(script: string): Program {
  const file = join(ada.home, "agent.mjs");
  const modules = JSON.stringify(new URL("../../package.json", import.meta.url).pathname);
  const preamble = `import { createRequire } from "node:module"; const require = createRequire(${modules});`;
  writeFileSync(file, `${preamble}\n${script}`);
  return exec(process.execPath, file);
}

describe("agentkeys exec", () => {
  beforeAll(() => {
    mkdirSync(join(ada.home, ".aws"));
    const keys = "aws_access_key_id = AKIAPERSON\naws_secret_access_key = person\n";
    writeFileSync(join(ada.home, ".aws", "credentials"), `[default]\n${keys}[person]\n${keys}`);
    writeFileSync(join(ada.home, ".aws", "config"), "[profile person]\nregion = eu-west-1\n");
  });

  test("gives an agent the wallet's credentials, whatever else lies around on the machine", async () => {
    const program = agent(`
      const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
      const { Arn } = await new STSClient({}).send(new GetCallerIdentityCommand({}));
      console.log(Arn);
    `);
    expect(await program.ended).toBe(0);
    expect(program.stdout()).toBe(`${ada.ownArn}\n`);
  });

  test("hands over an environment without anybody's secrets", async () => {
    const program = agent(`console.log(JSON.stringify(process.env));`);
    await program.ended;
    const env = JSON.parse(program.stdout()) as Record<string, string>;
    expect(program.stdout()).not.toContain("AKIAPERSON");
    expect(env).not.toHaveProperty("DEV_KEY_SERVICE_MASTER_SECRET");
    expect(env["AWS_CONTAINER_CREDENTIALS_FULL_URI"]).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1\/credentials$/);
    expect(env["AWS_REGION"]).toBe("us-east-1");
    expect(env["AGENTKEYS_BROKER_URL"]).toBe(ada.machine.env["AGENTKEYS_BROKER_URL"]);
  });

  test.each([
    ["the command's exit code", ["sh", "-c", "exit 7"], 7],
    ["0 with it", ["true"], 0],
    ["128 + the signal that ended it", ["sh", "-c", "kill -KILL $$"], 137],
    ["127 for a command that is not there", ["no-such-command"], 127],
    ["126 for one that cannot be run", ["/"], 126],
  ])("ends with %s", async (_, command, code) => {
    expect(await exec(...command).ended).toBe(code);
  });

  test("passes the command's arguments on as they are", async () => {
    const program = exec("printf", "%s|", "--json", "a b", "$HOME", "--", "-x");
    await program.ended;
    expect(program.stdout()).toBe("--json|a b|$HOME|--|-x|");
  });

  test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
    "passes %s on, and waits for what the command makes of it",
    async (signal) => {
      const name = signal.slice(3);
      const program = exec(
        "sh",
        "-c",
        `trap 'echo got ${name}; exit 5' ${name}; echo ready; while :; do sleep 0.05; done`,
      );
      await program.says(/ready/);
      program.process.kill(signal);
      expect(await program.ended).toBe(5);
      expect(program.stdout()).toContain(`got ${name}`);
    },
  );

  test("runs nothing without credentials", async () => {
    const program = ada.start(["exec", "--", "echo", "it ran"], {
      env: { AGENTKEYS_AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/nobody" },
    });
    expect(await program.ended).toBe(1);
    expect(program.stdout()).toBe("");
    expect(program.stderr()).toContain("AWS STS refused: AccessDenied");
    expect(program.stderr()).toContain("role/nobody");
  });
});
