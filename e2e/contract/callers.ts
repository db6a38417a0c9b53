import type { Access } from "@agentkeys/gen/agentkeys/access/v1/access_pb";

import type { Credentials } from "./protocols/protocol.ts";

/** Somebody who calls an RPC. */
export interface Caller {
  credentials: Credentials;
  /** The anchor of the caller's account: what `omni_account` must be where only the account's owner may call. */
  account?: string;
}

/** Gives the contract tests somebody to call as. */
export interface Callers {
  /** Whom the RPC's access option asks for; somebody new each time, because a call may end a session. */
  rightful(access: Access): Promise<Caller>;
  /** The same person each time, for calls without side effects and for those that are refused. */
  rightfulForReading(access: Access): Promise<Caller>;
  /** Somebody with a good session of the other kind than the option asks for. */
  withOtherSession(access: Access): Promise<Caller>;
  /**
   * For RPCs that only succeed with what another call or a person has made ready, which no rule of a field can say: a request
   * that succeeds once, by the RPC's short name.
   */
  prepared: Readonly<Record<string, () => Promise<{ init: Readonly<Record<string, unknown>>; caller: Caller }>>>;
}
