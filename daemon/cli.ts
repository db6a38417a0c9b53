import { Command, CommanderError } from "commander";

import type { StepUpOptions } from "./ceremony.ts";
import type { InitOptions } from "./commands/init.ts";
import type { LinkOptions } from "./commands/link.ts";
import { type Context, createContext } from "./context.ts";
import type { Io } from "./io.ts";
import { complain } from "./output.ts";
import { ExitCode, Problem, problemOf } from "./problem.ts";
import { readDaemonSettings } from "./settings.ts";
import { version } from "./version.ts";

/** Runs one command line (without the names of node and the program) and resolves to its exit code. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  const json = wantsJson(argv);
  try {
    let exitCode: number = ExitCode.ok;
    const program = commandTree(io, json, (code) => (exitCode = code));
    await program.parseAsync(argv, { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return ExitCode.ok;
    const problem = error instanceof CommanderError ? usageProblem(error) : problemOf(error);
    complain({ io, json }, problem);
    if (io.env["AGENTKEYS_LOG_LEVEL"] === "debug") showCauses(io, problem);
    return problem.exitCode;
  }
}

const HELP = `
Exit codes: 0 done, 1 failed, 2 wrong command line, 4 a sign-in is needed (run \`agentkeys init\`),
78 a setting or the state folder is wrong. \`exec\` ends with the code of its command.

Settings are environment variables: AGENTKEYS_BROKER_URL, AGENTKEYS_KEYS_URL, AGENTKEYS_ATTESTATION_POLICY,
AGENTKEYS_STATE_DIR, AGENTKEYS_AWS_ROLE_ARN, AGENTKEYS_AWS_SESSION_SECONDS, AGENTKEYS_LISTEN, AGENTKEYS_LOG_LEVEL,
and those of AWS's SDKs (AWS_REGION, AWS_ENDPOINT_URL_STS).`;

/** Every command is loaded when it is run: AWS's SDKs start this program often, and wait for it. */
function commandTree(io: Io, json: boolean, exit: (code: number) => void): Command {
  const context = (): Context => createContext(io, readDaemonSettings(io.env), json);
  const program = new Command("agentkeys")
    .description("Short-lived AWS credentials for the agents on this machine, by one sign-in and no key to keep.")
    .version(version(), "-V, --version")
    .addHelpText("after", HELP)
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      // Errors are told in one place, at the end.
      writeErr: () => undefined,
    });
  const JSON_OPTION = ["--json", "answer in JSON, for programs"] as const;
  const WALLET = ["--wallet [address]", "a wallet of your own, on the broker's page"] as const;
  const PASTE = [
    "--paste",
    "with a wallet's address: sign a text with it elsewhere, and type the signature in",
  ] as const;

  program
    .command("init")
    .description("sign in on this machine, and link the account's wallet")
    .option("--email <address>", "the address that the sign-in mail goes to; asked for when it is not given")
    .option("--oauth <provider>", "sign in at an identity provider of the broker's instead, for example google")
    .option(...WALLET)
    .option(...PASTE)
    .option("--passkey", "sign in with a passkey that is linked to your account")
    .option("--device-name <name>", "what this machine is called on the confirmation page (default: its host name)")
    .option(...JSON_OPTION)
    .action(async (options: InitOptions) => {
      const { init } = await import("./commands/init.ts");
      await init(context(), options);
    });

  program
    .command("whoami")
    .description("say which account and wallet this machine acts for")
    .option(...JSON_OPTION)
    .action(async () => {
      const { whoami } = await import("./commands/whoami.ts");
      await whoami(context());
    });

  program
    .command("creds")
    .description("print AWS credentials, for credential_process in ~/.aws/config")
    .action(async () => {
      const { creds } = await import("./commands/creds.ts");
      await creds(context());
    });

  program
    .command("token")
    .description("print an OIDC JWT about this machine's wallet")
    .option("--audience <audience>", "for whom it is (default: sts.amazonaws.com)")
    .option(...JSON_OPTION)
    .action(async (options: { audience?: string }) => {
      const { token } = await import("./commands/token.ts");
      await token(context(), options);
    });

  program
    .command("exec")
    .description("run a command that gets AWS credentials, and nothing but these")
    .usage("-- <command> [args...]")
    .argument("<command...>", "the command and its arguments")
    .passThroughOptions()
    .action(async (command: string[]) => {
      const { exec } = await import("./commands/exec.ts");
      exit(await exec(context(), command));
    });

  program
    .command("daemon")
    .description("keep AWS credentials fresh and serve them to this machine's agents, until stopped")
    .option(...JSON_OPTION)
    .action(async () => {
      const { daemon } = await import("./commands/daemon.ts");
      await daemon(context());
    });

  const STEP_UP = [
    "--step-up-oauth <provider>",
    "prove yourself at this provider, where a fresh sign-in is needed",
  ] as const;
  const STEP_UP_WALLET = ["--step-up-wallet [address]", "the same, with a wallet of your own"] as const;

  const STEP_UP_PASSKEY = ["--step-up-passkey", "the same, with a passkey"] as const;

  program
    .command("identities")
    .description("list the identities that sign in to the account")
    .option(...JSON_OPTION)
    .action(async () => {
      const { identities } = await import("./commands/identities.ts");
      await identities(context());
    });

  program
    .command("link")
    .description("let another identity sign in to the account; one with an account of its own is merged, if you agree")
    .option("--email <address>", "a mailbox")
    .option("--oauth <provider>", "an account at an identity provider of the broker's, for example google")
    .option(...WALLET)
    .option("--passkey", "a new passkey, which the broker's page makes")
    .option("--merge", "agree to merge without being asked")
    .option(...STEP_UP)
    .option(...STEP_UP_WALLET)
    .option(...PASTE)
    .option(...STEP_UP_PASSKEY)
    .option(...JSON_OPTION)
    .action(async (options: LinkOptions) => {
      const { link } = await import("./commands/link.ts");
      await link(context(), options);
    });

  program
    .command("unlink")
    .description("take an identity off the account")
    .argument("<identity>", "its value, or the beginning of its id")
    .option("--yes", "without being asked")
    .option(...STEP_UP)
    .option(...STEP_UP_WALLET)
    .option(...PASTE)
    .option(...STEP_UP_PASSKEY)
    .option(...JSON_OPTION)
    .action(async (identity: string, options: StepUpOptions & { yes?: boolean }) => {
      const { unlink } = await import("./commands/unlink.ts");
      await unlink(context(), identity, options);
    });

  program
    .command("unfreeze")
    .description("let a frozen account work again, once you have looked at it")
    .option(...STEP_UP)
    .option(...STEP_UP_WALLET)
    .option(...PASTE)
    .option(...STEP_UP_PASSKEY)
    .option(...JSON_OPTION)
    .action(async (options: StepUpOptions) => {
      const { unfreeze } = await import("./commands/unlink.ts");
      await unfreeze(context(), options);
    });

  program
    .command("sessions")
    .description("list the machines that are signed in, and what acts in the account's name")
    .option(...JSON_OPTION)
    .action(async () => {
      const { sessions } = await import("./commands/sessions.ts");
      await sessions(context());
    });

  program
    .command("revoke")
    .description("end a session of the account")
    .argument("[session]", "the beginning of its id; one that begins with - stands behind --")
    .option("--all-others", "all but this machine's")
    .option(...JSON_OPTION)
    .action(async (session: string | undefined, options: { allOthers?: boolean }) => {
      const { revoke } = await import("./commands/sessions.ts");
      await revoke(context(), session, options);
    });

  program
    .command("events")
    .description("show what happened in the account's name, the newest first")
    .option("--limit <number>", "how many at the most (default: 50)")
    .option(...JSON_OPTION)
    .action(async (options: { limit?: string }) => {
      const { events } = await import("./commands/events.ts");
      await events(context(), options);
    });

  const attest = program
    .command("attest")
    .description("what the key service proves of itself before it is sent anything");

  attest
    .command("verify")
    .description("check a new connection to the key service against the attestation policy, and show every check")
    .option(...JSON_OPTION)
    .action(async () => {
      const { verifyAttestation } = await import("./commands/attest.ts");
      exit(await verifyAttestation(context()));
    });

  attest
    .command("enroll")
    .description("write an attestation policy from what the key service shows now, for you to review")
    .option("--output <file>", "the file to write, which must not be there (default: AGENTKEYS_ATTESTATION_POLICY)")
    .option(
      "--root-sha256 <hash...>",
      "fingerprints of roots that the hardware's certificates may lead to instead of its maker's",
    )
    .option(...JSON_OPTION)
    .action(async (options: { output?: string; rootSha256?: string[] }) => {
      const { enrollAttestation } = await import("./commands/attest.ts");
      await enrollAttestation(context(), options);
    });

  attest
    .command("explain")
    .description("say in words what the attestation policy demands")
    .option(...JSON_OPTION)
    .action(async () => {
      const { explainAttestation } = await import("./commands/attest.ts");
      await explainAttestation(context());
    });

  program
    .command("audit")
    .description("look at what was recorded of the account's wallet")
    .command("signatures")
    .description("show every signature that was asked for, and verify that the record of it is whole")
    .option("--limit <number>", "how many at the most (default: 50)")
    .option(...JSON_OPTION)
    .action(async (options: { limit?: string }) => {
      const { auditSignatures } = await import("./commands/audit.ts");
      await auditSignatures(context(), options);
    });

  program
    .command("migrate-wallet")
    .description("move the account to the wallet that another key service derives for it")
    .option("--policies <file...>", "files with cloud policies, to be searched for the old address")
    .option("--yes", "without being asked")
    .option(...STEP_UP)
    .option(...STEP_UP_WALLET)
    .option(...PASTE)
    .option(...JSON_OPTION)
    .action(async (options: StepUpOptions & { policies?: string[]; yes?: boolean }) => {
      const { migrateWallet } = await import("./commands/migrate-wallet.ts");
      await migrateWallet(context(), options);
    });

  program
    .command("completions")
    .description("print a script that completes commands in your shell: source <(agentkeys completions bash)")
    .argument("<shell>", "bash, zsh or fish")
    .action(async (shell: string) => {
      const { completions } = await import("./commands/completions.ts");
      completions(io, program, shell);
    });

  program
    .command("logout")
    .description("end this machine's session and remove everything that it keeps")
    .option(...JSON_OPTION)
    .action(async () => {
      const { logout } = await import("./commands/logout.ts");
      await logout(context());
    });

  return program;
}

/** Known before anything is parsed, so that mistakes in the command line are told in the right form too. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.findIndex((argument) => argument === "--" || argument === "exec");
  return argv.slice(0, end === -1 ? undefined : end).includes("--json");
}

function usageProblem({ message, code }: CommanderError): Problem {
  const text =
    code === "commander.help" ? "a command is needed" : message.replace(/^error: /, "").replaceAll("\n", " ");
  const sentence = text.charAt(0).toUpperCase() + text.slice(1) + (/[.)]$/.test(text) ? "" : ".");
  return new Problem("USAGE", "usage", sentence, { remedy: "`agentkeys --help` lists the commands." });
}

function showCauses(io: Io, problem: Problem): void {
  for (let cause = problem.details.cause; cause instanceof Error; cause = cause.cause) {
    io.stderr.write(`${cause.stack ?? cause.message}\n`);
  }
}
