import { accessFor } from "../access.ts";
import { type Context, stateOf } from "../context.ts";
import { printable } from "../printable.ts";
import { isRestricted } from "../restricted.ts";
import type { AwsCredentials } from "../credentials/aws-credentials.ts";
import { enrol } from "../enrolment.ts";
import { assumeRoleFor } from "../machine.ts";
import { warn } from "../output.ts";
import { Problem, problemOf } from "../problem.ts";
import { type InitScreen, openInitScreen } from "../screens/index.ts";
import { signIn } from "../sign-in.ts";
import { mailbox, methodIn, type MethodOptions, type SignInMethod } from "../sign-in-method.ts";
import type { Enrolment, State } from "../state/index.ts";
import { enrolledWords } from "../wire-identity.ts";

export interface InitOptions extends MethodOptions {
  deviceName?: string;
}

/** `agentkeys init`: signs a person in, then goes the whole way to the wallet's link, and to AWS where a role is set. */
export async function init(context: Context, options: InitOptions): Promise<void> {
  const state = stateOf(context);
  // Before anybody is mailed: the folder can be written, and no other broker's session is in it.
  const before = await state.update(() => Promise.resolve(undefined));
  const screen = await openInitScreen(context);
  try {
    const enrolment =
      (await resumable(before, options, context, screen)) ?? (await signInHere(context, state, options, screen));
    await goOn(context, state, enrolment, screen);
  } catch (error) {
    screen.brokenOff();
    throw error;
  }
}

/** A sign-in that works, but broke off before the wallet was linked: it is taken up again instead of sending another mail. */
async function resumable(
  kept: Enrolment | undefined,
  { email, oauth, wallet, passkey }: InitOptions,
  { io, keyService }: Context,
  screen: InitScreen,
): Promise<Enrolment | undefined> {
  if (kept === undefined || kept.walletAddress !== undefined || io.clock() >= kept.session.expiresAt) return undefined;
  if (oauth !== undefined || wallet !== undefined || passkey !== undefined) return undefined;
  if (email !== undefined && email.trim().toLowerCase() !== kept.identity.value) return undefined;
  const { asPerson } = await accessFor(kept, { ...io, keyService });
  try {
    const { frozenAt } = await asPerson.account.whoAmI({});
    // Unfrozen since: this session stays good for looking only, and another sign-in is the way on.
    if (frozenAt === undefined && isRestricted(kept.session.token)) return undefined;
  } catch (error) {
    if (problemOf(error).kind === "sign-in") return undefined;
    throw error;
  }
  screen.resumed(kept);
  return kept;
}

async function signInHere(
  context: Context,
  state: State,
  options: InitOptions,
  screen: InitScreen,
): Promise<Enrolment> {
  const { io, settings } = context;
  const method = await methodOf(options, screen);
  const deviceName = printable(options.deviceName ?? io.hostname).slice(0, 64);
  const signedIn = await signIn({ ...io, brokerUrl: settings.brokerUrl, method, deviceName }, screen);

  let replaced: Enrolment | undefined;
  const kept = await state.update(async (current) => {
    if (current !== undefined && current.omniAccount !== signedIn.omniAccount) {
      await revoke(context, signedIn);
      throw otherAccount(current, signedIn);
    }
    replaced = current;
    return current?.walletAddress === undefined ? signedIn : { ...signedIn, walletAddress: current.walletAddress };
  });
  if (replaced !== undefined) await revoke(context, replaced);
  screen.signedIn(signedIn);
  return kept ?? signedIn;
}

async function goOn(context: Context, state: State, enrolment: Enrolment, screen: InitScreen): Promise<void> {
  const { io, settings, keyService } = context;
  if (await isFrozen(context, enrolment)) {
    screen.frozen(enrolment);
    return;
  }
  const { roleArn, sessionSeconds } = settings.aws;
  const aws = roleArn === undefined ? undefined : { roleArn, sessionSeconds };
  const access = await accessFor(enrolment, { ...io, keyService });
  let finished = enrolment;
  const credentials: AwsCredentials | undefined = await enrol(
    access,
    {
      derived: (address) => screen.derived(address),
      linked: async (walletAddress) => {
        finished = { ...enrolment, walletAddress };
        await state.update((current) => Promise.resolve(current && { ...current, walletAddress }));
        screen.linked(walletAddress);
      },
    },
    aws && assumeRoleFor(context, aws),
  );
  screen.finished(finished, aws && credentials && { credentials, roleArn: aws.roleArn });
}

async function methodOf(options: InitOptions, screen: InitScreen): Promise<SignInMethod> {
  if (options.paste === true && options.wallet === undefined) {
    const remedy = "For example: `agentkeys init --wallet 0x… --paste`.";
    throw new Problem("USAGE", "usage", "--paste goes with --wallet and an address.", { remedy });
  }
  const method = methodIn(options, "`agentkeys link` adds the second one once you are signed in.");
  return method ?? { email: mailbox(await screen.askEmail()) };
}

/** What its first call would be refused for is asked beforehand, only where the token says so: the usual way costs no call more. */
async function isFrozen(context: Context, enrolment: Enrolment): Promise<boolean> {
  if (!isRestricted(enrolment.session.token)) return false;
  const { asPerson } = await accessFor(enrolment, { ...context.io, keyService: context.keyService });
  return (await asPerson.account.whoAmI({})).frozenAt !== undefined;
}

/** A session that nobody needs any more is not left behind; that it ends by itself has to do where the broker does not listen. */
async function revoke(context: Context, enrolment: Enrolment): Promise<void> {
  try {
    const { asPerson } = await accessFor(enrolment, { ...context.io, keyService: context.keyService });
    await asPerson.account.revokeSession({});
  } catch (error) {
    const problem = problemOf(error);
    if (problem.kind !== "sign-in") warn(context, problem);
  }
}

function otherAccount(current: Enrolment, signedIn: Enrolment): Problem {
  return new Problem(
    "OTHER_ACCOUNT",
    "standing",
    `This machine is enrolled as ${enrolledWords(current.identity)}, and ${enrolledWords(signedIn.identity)} is another account. Nothing was changed.`,
    {
      remedy:
        "To change accounts, run `agentkeys logout` first; for both, set AGENTKEYS_STATE_DIR to another folder for the second.",
    },
  );
}
