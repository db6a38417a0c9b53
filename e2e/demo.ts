/** `npm run demo`: from an e-mail address to AWS credentials, with everything real that this machine has. */
import { parseArgs } from "node:util";

import { createNarrator, type Narrator } from "./demo/narrator.ts";
import type { CloudChoice, Stage } from "./demo/stage.ts";
import type { Enrolled } from "./demo/use-credentials.ts";
import { createCleanup } from "./harness/cleanup.ts";

const USAGE = `npm run demo [-- --aws auto|rgw|local] [--tee]

  --aws auto    Ceph's RADOS Gateway as STS and S3 where radosgw is installed, else our stand-in (default)
  --aws rgw     RADOS Gateway, or fail
  --aws local   our stand-in
  --tee         the TEE worker on a software TPM, attested, instead of the development backend
AGENTKEYS_DEMO_AWS does the same.
`;
/** Far more than it needs: whatever hangs is told of, not waited for. */
const LONGEST_MS = 60_000;

async function main(): Promise<number> {
  const choice = readChoice();
  if (choice === undefined) return 2;
  forgetAwsSettings();
  const tell = createNarrator(process.stdout);
  const undo = createCleanup(process);
  // Whoever reads may stop to; what was started is still to be ended.
  process.stdout.on("error", () => undefined);
  const started = Date.now();
  let stage: Stage | undefined;
  try {
    const play = async (): Promise<void> => {
      tell.title("AgentKeys: from an e-mail address to AWS credentials, with no wallet key on the machine");
      tell.heading("On this machine, on loopback only");
      // Whoever mistypes an option need not wait for all of it to be loaded.
      const { setStage } = await import("./demo/stage.ts");
      stage = await setStage(choice.cloud, undo, tell, { tee: choice.tee });
      await showEverything(stage, tell);
    };
    await Promise.race([play(), tooLong()]);
    await undo.run();
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    tell.done(`Done in ${seconds} s. Everything that was started has ended, everything that was written is removed.`);
    return 0;
  } catch (error) {
    if (undo.isEnding()) return forever();
    tell.failed(error instanceof Error ? error.message : String(error));
    for (const line of troubleIn(stage?.system.logged ?? [])) process.stderr.write(`${line}\n`);
    await undo.run().catch((fault: unknown) => process.stderr.write(`${String(fault)}\n`));
    return 1;
  }
}

async function showEverything(stage: Stage, tell: Narrator): Promise<void> {
  const { createMachine } = await import("./harness/machine.ts");
  const { enrolPerson } = await import("./demo/enrol-person.ts");
  const { useCredentials } = await import("./demo/use-credentials.ts");
  const people: Enrolled[] = [];
  for (const name of ["Ada", "Bob"]) {
    tell.heading(`${name} signs in`);
    const env = { AGENTKEYS_AWS_ROLE_ARN: stage.vault.roleArn, AWS_ENDPOINT_URL_STS: stage.cloud.url };
    const machine = createMachine({ system: stage.system, scratch: stage.scratch, env });
    const wallet = await enrolPerson({ email: `${name.toLowerCase()}@example.com`, machine, stage, tell });
    people.push({ name, machine, wallet });
  }
  tell.heading("What `agentkeys creds` gives them, used on S3");
  await useCredentials(people, stage, tell);
}

function readChoice(): { cloud: CloudChoice; tee: boolean } | undefined {
  try {
    const { values } = parseArgs({
      options: {
        aws: { type: "string" },
        tee: { type: "boolean", default: false },
        help: { type: "boolean", short: "h" },
      },
    });
    const aws = values.aws ?? process.env["AGENTKEYS_DEMO_AWS"] ?? "auto";
    if (values.help !== true && (aws === "auto" || aws === "rgw" || aws === "local"))
      return { cloud: aws, tee: values.tee };
    if (values.help !== true) process.stderr.write(`There is no --aws ${aws}.\n\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n`);
  }
  process.stderr.write(USAGE);
  return undefined;
}

/** Whatever this machine has set for AWS is neither used nor in the way. */
function forgetAwsSettings(): void {
  for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) Reflect.deleteProperty(process.env, name);
  Object.assign(process.env, {
    AWS_CONFIG_FILE: "/dev/null",
    AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
  });
}

/** Whoever was told to end the process does so. */
function forever(): Promise<never> {
  return new Promise(() => undefined);
}

function tooLong(): Promise<never> {
  return new Promise((_, reject) => {
    const error = new Error(`It took longer than ${LONGEST_MS / 1000} s.`);
    setTimeout(() => reject(error), LONGEST_MS).unref();
  });
}

/** The last complaints of the services. */
function troubleIn(logged: readonly string[]): string[] {
  return logged
    .map((line) => line.trim())
    .filter((line) => /"level":"(error|fatal)"/.test(line))
    .slice(-5);
}

process.exit(await main());
