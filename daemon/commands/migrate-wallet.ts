import { readFile } from "node:fs/promises";

import type { EvmAddress } from "@agentkeys/lib/ethereum";

import type { Access } from "../access.ts";
import { agreed, openAccess, signInAnew, type StepUpOptions } from "../ceremony.ts";
import { type Context, stateOf } from "../context.ts";
import { signInWithWallet, walletThere } from "../enrolment.ts";
import { answer } from "../output.ts";
import { printable } from "../printable.ts";
import { Problem, problemOf } from "../problem.ts";
import { notSignedIn } from "../state/index.ts";

export interface MigrateOptions extends StepUpOptions {
  /** Files with cloud policies. */
  policies?: readonly string[];
  yes?: boolean;
}

/**
 * `agentkeys migrate-wallet`: a new master secret means a new wallet for every account. Links the one that the key service derives now, after
 * a fresh sign-in, takes the old one out of use, and tells what in the cloud still names it. Data do not move by themselves.
 */
export async function migrateWallet(context: Context, options: MigrateOptions): Promise<void> {
  const policies = await Promise.all((options.policies ?? []).map(readPolicy));
  const access = await openAccess(context);
  const before = access.enrolment.walletAddress;
  if (before === undefined) {
    throw new Problem("NOT_ENROLLED", "sign-in", "This machine has no wallet yet.", {
      remedy: "Run `agentkeys init`.",
    });
  }
  const after = await walletThere(access);
  if (after === before) {
    answer(context, { migrated: false, wallet_address: after }, [`The account's wallet is ${after} already.`]);
    return;
  }
  if (!context.json) context.io.stdout.write(`old wallet  ${before}\nnew wallet  ${after}\n`);
  await agreed(context, "Link the new wallet, and take the old one out of use?", {
    yes: options.yes === true,
    flag: "--yes",
  });
  // A stolen machine must not be able to move an account elsewhere.
  await signInAnew(context, access, options);
  await access.asPerson.wallet.linkWallet({ address: after });
  await signInWithWallet(access, after);
  await keep(context, access, after);
  const retired = await retire(access, before);
  const found = policies.flatMap((policy) => mentions(policy, before, after));
  answer(
    context,
    {
      migrated: true,
      old_wallet: before,
      new_wallet: after,
      old_wallet_retired: retired,
      to_change: found,
      searched: policies.map(({ path }) => path),
    },
    [
      `The account's wallet is ${after} now, on this machine too; others are told WALLET_CHANGED, and go on after the same command.`,
      retired
        ? `${before} stays the account's, listed as retired: it gets no session any more.`
        : `${before} stays linked to the account: this broker cannot retire wallets yet.`,
      "",
      ...whatToChange(context, access, { before, after }),
      ...(policies.length === 0
        ? ["", "Give --policies with the files of your cloud's policies to have them searched for the old address."]
        : ["", ...foundInWords(found, policies)]),
    ],
  );
}

async function keep(context: Context, { enrolment }: Access, walletAddress: EvmAddress): Promise<void> {
  await stateOf(context).update((kept) => {
    if (kept === undefined) throw notSignedIn();
    // Somebody else may have signed in here meanwhile.
    return Promise.resolve(kept.omniAccount === enrolment.omniAccount ? { ...kept, walletAddress } : undefined);
  });
}

/** Whether the broker takes it out of use; one of an earlier version has no such call. */
async function retire({ asPerson }: Access, address: EvmAddress): Promise<boolean> {
  try {
    await asPerson.account.retireWallet({ address });
    return true;
  } catch (error) {
    const problem = problemOf(error);
    if (problem.reason === "NOT_SERVED") return false;
    throw problem;
  }
}

/** What an operator has to put elsewhere: only they know which of it there is. */
function whatToChange(
  { settings }: Context,
  { enrolment }: Access,
  { before, after }: { before: EvmAddress; after: EvmAddress },
): string[] {
  const { host } = new URL(enrolment.issuer);
  return [
    `Policies that follow the session tag \${aws:PrincipalTag/agentkeys_user_wallet} hold as they are. Where one names the old address, change it:`,
    `  trust policy    "StringEquals": { "${host}:sub": "agentkeys:wallet:${after}" }`,
    `                  instead of agentkeys:wallet:${before}`,
    `  role policy     "StringEquals": { "aws:PrincipalTag/agentkeys_user_wallet": "${after}" }`,
    `  resources       "arn:aws:s3:::BUCKET/bots/${after}/*"`,
    `Data stay where they are: their owner copies them, for example with`,
    `  aws s3 cp --recursive s3://BUCKET/bots/${before}/ s3://BUCKET/bots/${after}/`,
    ...(settings.aws.roleArn === undefined ? [] : [`The role of this machine is ${settings.aws.roleArn}.`]),
  ];
}

interface PolicyFile {
  path: string;
  lines: string[];
}

/** One line of a policy that names the old address, and how it would name the new one. */
interface Mention {
  file: string;
  line: number;
  now: string;
  new: string;
}

function mentions({ path, lines }: PolicyFile, before: EvmAddress, after: EvmAddress): Mention[] {
  const old = new RegExp(before, "gi");
  return lines.flatMap((text, index) =>
    text.search(old) === -1
      ? []
      : [
          {
            file: path,
            line: index + 1,
            now: printable(text.trim()),
            new: printable(text.trim().replaceAll(old, after)),
          },
        ],
  );
}

function foundInWords(found: readonly Mention[], policies: readonly PolicyFile[]): string[] {
  if (found.length === 0) return [`None of ${policies.map(({ path }) => path).join(", ")} names the old address.`];
  return found.flatMap(({ file, line, now, new: next }) => [`${file}, line ${line}:`, `  - ${now}`, `  + ${next}`]);
}

async function readPolicy(path: string): Promise<PolicyFile> {
  try {
    return { path, lines: (await readFile(path, "utf8")).split("\n") };
  } catch (error) {
    throw new Problem("USAGE", "usage", `${path} cannot be read. Nothing was changed.`, {
      remedy: "Give --policies with files that are there.",
      cause: error,
    });
  }
}
