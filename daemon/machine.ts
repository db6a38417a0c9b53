import { type Context, stateOf } from "./context.ts";
import type { AwsCredentials } from "./credentials/aws-credentials.ts";
import { type AssumeRole, mintOidcJwt } from "./enrolment.ts";
import { createSessionKeeper, type SessionKeeper } from "./identity-session.ts";
import type { Problem } from "./problem.ts";
import type { AwsSettings } from "./settings.ts";
import type { IdentitySession, State } from "./state/index.ts";
import { createWalletAccess, type WalletAccess } from "./wallet-access.ts";

/** What this machine is enrolled with, put together for a command that works with it. */
export interface Machine {
  state: State;
  sessions: SessionKeeper;
  wallet: WalletAccess;
}

/** What a command wants to hear of renewals. */
export interface RenewalEvents {
  onRenewed?: (session: IdentitySession) => void;
  /** A renewal failed, while the session still works. */
  onTrouble: (problem: Problem) => void;
}

export function openMachine(context: Context, events: RenewalEvents): Machine {
  const { clock, random } = context.io;
  const { keyService } = context;
  const state = stateOf(context);
  const sessions = createSessionKeeper({ state, keyService, clock, random, ...events });
  return { state, sessions, wallet: createWalletAccess({ sessions, keyService, clock, random }) };
}

/** The exchange at STS for the role of the settings. Loaded when needed: AWS's SDK is larger than everything else together. */
export function assumeRoleFor({ io }: Context, aws: Required<AwsSettings>): AssumeRole {
  return async (jwt, address) => {
    const { createAssumeRole } = await import("./credentials/sts.ts");
    return await createAssumeRole(aws, io)(jwt, address);
  };
}

/** New credentials: a session by the wallet's signature, an OIDC JWT, STS. */
export async function fetchCredentials({ wallet }: Machine, assumeRole: AssumeRole): Promise<AwsCredentials> {
  return await wallet.use(async (access, session) => {
    const { jwt } = await mintOidcJwt(access, session);
    return await assumeRole(jwt, session.address);
  });
}
