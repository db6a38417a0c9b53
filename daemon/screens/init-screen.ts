import type { EvmAddress } from "@agentkeys/lib/ethereum";

import type { AwsCredentials } from "../credentials/aws-credentials.ts";
import type { SignatureEvents } from "../pasted-signature.ts";
import type { Problem } from "../problem.ts";
import type { Enrolment } from "../state/index.ts";

/** What `agentkeys init` shows while it works, in the order in which it happens. */
export interface InitScreen extends SignatureEvents {
  /** Asks for the e-mail address, where none was given. @throws Problem USAGE where nobody can be asked, CANCELLED */
  askEmail(): Promise<string>;
  /** A mail was sent: what the person has to do now. `expiresAt`: epoch milliseconds. */
  mailed(email: string, code: string, expiresAt: number): void;
  /** A page has to be opened, which leads on to an identity provider. `expiresAt`: epoch milliseconds. */
  openPage(url: string, provider: string, code: string, expiresAt: number): void;
  /** A page has to be opened in a browser that has the person's wallet. `expiresAt`: epoch milliseconds. */
  openWalletPage(url: string, code: string, expiresAt: number): void;
  /** A page has to be opened, which asks for a passkey. `expiresAt`: epoch milliseconds. */
  openPasskeyPage(url: string, code: string, expiresAt: number): void;
  /** The broker cannot be asked right now; `undefined`: it can again. */
  hiccup(problem: Problem | undefined): void;
  signedIn(enrolment: Enrolment): void;
  /** The sign-in was there already; only the wallet is left to do. */
  resumed(enrolment: Enrolment): void;
  derived(address: EvmAddress): void;
  linked(address: EvmAddress): void;
  /** The account is frozen: it has to be looked at before anything else. */
  frozen(enrolment: Enrolment): void;
  /** It is all done; `credentials` where a role is set, as the proof that everything works. */
  finished(enrolment: Enrolment, aws?: { credentials: AwsCredentials; roleArn: string }): void;
  /** It broke off; the problem itself is told by the caller. */
  brokenOff(): void;
}
