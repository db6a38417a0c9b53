import { getOption, hasOption } from "@bufbuild/protobuf";
import { createContextKey, type Interceptor, type StreamRequest, type UnaryRequest } from "@connectrpc/connect";

import { access, Access } from "@agentkeys/gen/agentkeys/access/v1/access_pb";

import { ErrorReason, Failure } from "../failure.ts";
import { requestInfo, type RequestInfo } from "../rpc/request-info.ts";
import { isLoopback } from "../settings/kinds.ts";
import type { DpopVerifier } from "./dpop-verifier.ts";
import type { Session, SessionKind, SessionVerifier } from "./session.ts";

/** The session that a call was made under; `undefined` where its RPC needs none and none was presented. */
export const currentSession = createContextKey<Session | undefined>(undefined, { description: "the caller's session" });

/** The DPoP proof of a call, checked and used up; `undefined` where none was presented. */
export const dpopProof = createContextKey<{ thumbprint: string } | undefined>(undefined, {
  description: "the caller's DPoP proof",
});

export interface AuthenticateOptions {
  /** Absent: this server knows no sessions, and every RPC that needs one is refused. */
  verifier?: SessionVerifier;
  /** Absent together with `verifier`. */
  dpop?: DpopVerifier;
  /** What ACCESS_ACCOUNT_OWNER asks for: an identity session, or merely that the caller is on this machine. */
  accountOwner?: "session" | "loopback";
  /** Told of each call that a session was good for. */
  onAdmission?: (session: Session) => Promise<void>;
  /** Told when somebody with a good session is refused: the wrong kind of session, or a proof that is not its own. */
  onRefusal?: (refusal: Refusal) => Promise<void>;
}

/** A call that its caller's session did not get through. */
export interface Refusal {
  session: Session;
  failure: Failure;
  /** The RPC's name, for example `MintOidcJwt`. */
  call: string;
  info: RequestInfo;
}

/**
 * Lets a call through when its caller is who the RPC's `agentkeys.access.v1.access` option asks for, and notes the session
 * and the proof in the call's context. An RPC of ours that declares nothing is refused; services of others (health,
 * reflection) are open.
 */
export function authenticate(options: AuthenticateOptions): Interceptor {
  const { verifier, dpop, accountOwner = "session", onAdmission, onRefusal } = options;

  const admit = async (req: UnaryRequest | StreamRequest): Promise<void> => {
    if (!req.service.typeName.startsWith("agentkeys.")) return;
    const rule = hasOption(req.method, access) ? getOption(req.method, access) : Access.UNSPECIFIED;
    const kind = sessionKindFor(rule);
    if (rule === Access.ANYONE) {
      await noteProof(req);
    } else if (rule === Access.ACCOUNT_OWNER && accountOwner === "loopback") {
      refuseFromElsewhere(req);
    } else if (rule === Access.OPTIONAL_IDENTITY_SESSION && !req.header.has("authorization")) {
      await noteProof(req);
    } else if (kind !== undefined) {
      req.contextValues.set(currentSession, await sessionOf(req, kind, rule));
    } else {
      throw new Failure(ErrorReason.NOT_SERVED, "this call declares nobody who may make it");
    }
  };

  const noteProof = async (req: UnaryRequest | StreamRequest): Promise<void> => {
    const proof = req.header.get("dpop");
    if (proof === null || dpop === undefined) return;
    const { method, path } = req.contextValues.get(requestInfo);
    req.contextValues.set(dpopProof, await dpop.verify(proof, { method, path }));
  };

  const sessionOf = async (req: UnaryRequest | StreamRequest, kind: SessionKind, rule: Access): Promise<Session> => {
    const { scheme, token } = credentialsOf(req.header.get("authorization"));
    if (verifier === undefined || dpop === undefined) {
      throw new Failure(ErrorReason.SESSION_INVALID, "this server knows no broker, so it accepts no session");
    }
    const session = await verifier.verify(token, { renewable: rule === Access.RENEWABLE_IDENTITY_SESSION });
    try {
      if (session.dpopThumbprint !== undefined) await checkProof(req, dpop, scheme, token, session.dpopThumbprint);
      else if (scheme !== "bearer") throw notBound();
      if (session.kind !== kind) throw wrongKind(kind, session.kind);
      if (session.restricted && rule !== Access.RESTRICTED_IDENTITY_SESSION) throw frozen();
    } catch (failure) {
      const info = req.contextValues.get(requestInfo);
      if (failure instanceof Failure) await onRefusal?.({ session, failure, call: req.method.name, info });
      throw failure;
    }
    await onAdmission?.(session);
    return session;
  };

  return (next) => async (req) => {
    await admit(req);
    return next(req);
  };
}

/** The proof must be for this very request and token, by the key that the session is bound to; it is noted in the context. */
async function checkProof(
  req: UnaryRequest | StreamRequest,
  dpop: DpopVerifier,
  scheme: "bearer" | "dpop",
  accessToken: string,
  bound: string,
): Promise<void> {
  const proof = req.header.get("dpop");
  if (scheme !== "dpop" || proof === null) {
    throw new Failure(
      ErrorReason.DPOP_INVALID,
      "the session is bound to a DPoP key: send it as DPoP, with a proof in the DPoP header (RFC 9449 section 7.1)",
    );
  }
  const { method, path } = req.contextValues.get(requestInfo);
  const { thumbprint } = await dpop.verify(proof, { method, path, accessToken });
  if (thumbprint !== bound) {
    throw new Failure(ErrorReason.DPOP_INVALID, "the DPoP proof is by another key than the session is bound to");
  }
  req.contextValues.set(dpopProof, { thumbprint });
}

function notBound(): Failure {
  return new Failure(ErrorReason.DPOP_INVALID, "the session is not bound to a DPoP key: send it as Bearer");
}

function frozen(): Failure {
  return new Failure(
    ErrorReason.ACCOUNT_FROZEN,
    "the account was frozen when this session signed in: look at it, unfreeze it (agentkeys unfreeze), and sign in again",
  );
}

function sessionKindFor(rule: Access): SessionKind | undefined {
  switch (rule) {
    case Access.IDENTITY_SESSION:
    case Access.OPTIONAL_IDENTITY_SESSION:
    case Access.RESTRICTED_IDENTITY_SESSION:
    case Access.RENEWABLE_IDENTITY_SESSION:
    case Access.ACCOUNT_OWNER:
      return "identity";
    case Access.WALLET_SESSION:
      return "wallet";
    default:
      return undefined;
  }
}

function credentialsOf(authorization: string | null): { scheme: "bearer" | "dpop"; token: string } {
  if (authorization === null) {
    throw new Failure(
      ErrorReason.SESSION_REQUIRED,
      "a session is needed: send its token in the Authorization header, as DPoP or Bearer",
    );
  }
  const match = /^(bearer|dpop) +([\w~+/.-]+=*)$/i.exec(authorization);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new Failure(
      ErrorReason.SESSION_INVALID,
      "the Authorization header is not DPoP or Bearer with a session token",
    );
  }
  return { scheme: match[1].toLowerCase() === "dpop" ? "dpop" : "bearer", token: match[2] };
}

function wrongKind(needed: SessionKind, got: SessionKind): Failure {
  return new Failure(
    ErrorReason.SESSION_KIND,
    needed === "identity"
      ? `an identity session is needed (from a sign-in), not a ${got} session`
      : `a wallet session is needed (from VerifyWallet), not an ${got} session`,
  );
}

/**
 * Without sessions only programs on this machine are served. A web page in this machine's browser is not one of them: it
 * gives itself away by Origin, and one that had its name resolved to loopback (DNS rebinding) by Host. What a proxy on this
 * machine passes on comes from elsewhere as well.
 */
function refuseFromElsewhere(req: UnaryRequest | StreamRequest): void {
  const { sourceAddress } = req.contextValues.get(requestInfo);
  const host = req.header.get("host") ?? req.header.get(":authority");
  const named = host === null ? undefined : host.replace(/:\d+$/, "");
  const forwarded = ["forwarded", "x-forwarded-for", "via"].some((name) => req.header.has(name));
  const local = isLoopback(sourceAddress) && (named === undefined || isLoopback(named)) && !forwarded;
  if (!local || req.header.has("origin") || req.header.get("sec-fetch-site") !== null) {
    throw new Failure(
      ErrorReason.SESSION_REQUIRED,
      "without a broker this server answers programs on its own machine only (and no web page)",
    );
  }
}
