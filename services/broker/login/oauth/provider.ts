import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import type { LoginIdentity } from "../store.ts";

/** One way to a provider, as its `state` names it. All three secrets are made anew for it. */
export interface AuthorizationRequest {
  /** RFC 6749 section 10.12. */
  state: string;
  /** OpenID Connect Core section 3.1.2.1. */
  nonce: string;
  /** The PKCE verifier (RFC 7636). */
  codeVerifier: string;
  redirectUri: string;
}

/** An identity provider that people sign in at. */
export interface IdentityProvider {
  /** In settings and on the wire. */
  name: string;
  /** For people. */
  title: string;
  /** What stands before the `|` of the identities that it names. */
  issuer: string;
  /** Where the browser is sent. @throws Failure PROVIDER_UNAVAILABLE */
  authorizationUrl(request: AuthorizationRequest): Promise<URL>;
  /**
   * Turns what the browser brought back into who the person is: the provider's name for them that never changes, never their e-mail
   * address, which may stand beside it as what they are called. @throws ConsentRefused, AnswerRefused, Failure PROVIDER_UNAVAILABLE
   */
  redeem(callback: URL, request: AuthorizationRequest): Promise<LoginIdentity>;
  /** Resolves when the provider could be asked now. */
  check(): Promise<void>;
}

/** The person said no at the provider. */
export class ConsentRefused extends Failure {
  constructor() {
    super(ErrorReason.LOGIN_REFUSED, "the sign-in was refused at the provider");
  }
}

/** What came back proves nothing: forged, replayed, of another provider, or broken. */
export class AnswerRefused extends Failure {
  constructor(cause?: unknown) {
    super(ErrorReason.LOGIN_NOT_FOUND, "what came back from the provider does not belong to this sign-in", { cause });
  }
}

export function providerUnavailable(title: string, cause?: unknown): Failure {
  return new Failure(
    ErrorReason.PROVIDER_UNAVAILABLE,
    `${title} cannot be reached right now; try again shortly, or sign in another way`,
    {
      retryAfterMs: 10_000,
      cause,
    },
  );
}
