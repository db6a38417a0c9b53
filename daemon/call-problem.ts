import { Code } from "@connectrpc/connect";

import { ErrorReason } from "@agentkeys/lib/failure";
import { type CallFailure, failureOf } from "@agentkeys/lib/rpc";

import { printable } from "./printable.ts";
import { Problem, type ProblemKind } from "./problem.ts";

/** Who was called: by its URL, and the setting that says so. */
export interface Callee {
  name: "broker" | "key service";
  url: string;
  setting: "AGENTKEYS_BROKER_URL" | "AGENTKEYS_KEYS_URL";
}

/** Says what a failed call means for the person at this machine, and blames who is to blame. */
export function explainCall(error: unknown, callee: Callee): Problem {
  const known = problemIn(error);
  if (known !== undefined) return known;
  const failure = failureOf(error);
  const { reason } = failure;
  const retry = failure.retryAfterMs === undefined ? {} : { retryAfterMs: failure.retryAfterMs };
  if (reason === undefined) return withoutReason(failure, error, callee);

  const name = ErrorReason[reason];
  const words = sessionProblems[reason];
  if (words !== undefined)
    return new Problem(name, words.kind ?? "sign-in", words.message, { remedy: words.remedy, cause: error });
  const who = `The ${callee.name} at ${callee.url}`;
  const why = sentence(printable(failure.message));
  return passing.has(reason)
    ? new Problem(name, "passing", `${who} could not do it: ${why}`, {
        ...{ remedy: again(failure), ...remedyFor(reason), ...retry },
        cause: error,
      })
    : new Problem(name, "standing", `${who} refused: ${why}`, { ...remedyFor(reason), ...retry, cause: error });
}

/** A problem that was found out on the way: before a request left, Connect's client wraps what it met. */
function problemIn(error: unknown): Problem | undefined {
  for (let link = error, depth = 0; link instanceof Error && depth < 10; link = link.cause, depth++) {
    if (link instanceof Problem) return link;
  }
  return undefined;
}

/** Services write their messages without a full stop, and a remedy may follow. */
function sentence(text: string): string {
  return /[.!?)]$/.test(text) ? text : `${text}.`;
}

/** What helps where the service's own words say what is wrong, and only these can. */
function remedyFor(reason: ErrorReason): { remedy?: string } {
  switch (reason) {
    case ErrorReason.PROVIDER_UNKNOWN:
      return { remedy: "Run it again with a provider that the broker has, or with --email." };
    case ErrorReason.PROVIDER_UNAVAILABLE:
      return { remedy: "Try again in a moment, or with --email." };
    case ErrorReason.PASSKEY_UNKNOWN:
      return { remedy: "Sign in in another way, then run `agentkeys link --passkey`." };
    case ErrorReason.WALLET_NOT_OWN:
      return { remedy: "Use an address whose key you hold yourself." };
    default:
      return {};
  }
}

function again({ retryAfterMs }: CallFailure): string {
  return `Try again in ${retryAfterMs === undefined ? "a moment" : `${Math.ceil(retryAfterMs / 1000)} seconds`}.`;
}

const RUN_INIT = "Run `agentkeys init` to sign in.";

const sessionProblems: Partial<Record<ErrorReason, { message: string; remedy: string; kind?: ProblemKind }>> = {
  [ErrorReason.SESSION_REQUIRED]: { message: "A session is needed for this.", remedy: RUN_INIT },
  [ErrorReason.SESSION_INVALID]: { message: "This machine's session is not accepted.", remedy: RUN_INIT },
  [ErrorReason.SESSION_EXPIRED]: { message: "This machine's session has ended.", remedy: RUN_INIT },
  [ErrorReason.SESSION_REVOKED]: { message: "This machine's session was revoked.", remedy: RUN_INIT },
  [ErrorReason.RENEWAL_ENDED]: { message: "This machine's sign-in is too old to be renewed.", remedy: RUN_INIT },
  [ErrorReason.DPOP_REQUIRED]: { message: "This machine's session is not bound to its device key.", remedy: RUN_INIT },
  [ErrorReason.DPOP_INVALID]: {
    message: "This machine's proof of its device key was not accepted.",
    remedy: "Check that this machine's clock is right; if it is, run `agentkeys init`.",
    kind: "standing",
  },
  [ErrorReason.ACCOUNT_FROZEN]: {
    message: 'The account is frozen, since somebody pressed "this was not me".',
    // A session that was made while it was frozen is told so even after that: it takes a new one, hence the last words.
    remedy:
      "Look at `agentkeys events` and `agentkeys identities`, then run `agentkeys unfreeze`, and `agentkeys init` once more.",
  },
  [ErrorReason.IDENTITY_SUSPENDED]: {
    message: "This identity was reported by the owner of another identity of the account.",
    remedy: "Sign in with that one: `agentkeys init --email` or `--oauth`.",
  },
  [ErrorReason.IDENTITY_UNLINKED]: {
    message: "This identity was taken off the account that it had started.",
    remedy: "Sign in with another identity of the account, then run `agentkeys link`.",
  },
  [ErrorReason.SECOND_IDENTITY_REQUIRED]: {
    message: "This mailbox was not used for long, and may be another person's by now.",
    remedy: "Sign in with another identity of the account, then run `agentkeys link --email` with this one.",
  },
  [ErrorReason.LAST_IDENTITY]: {
    message: "This is the last identity that signs in to the account.",
    remedy: "Run `agentkeys link` with another one first.",
    kind: "standing",
  },
  [ErrorReason.FRESH_SIGN_IN_REQUIRED]: {
    message: "This needs a sign-in that is a few minutes old at the most.",
    remedy: "Run the command again, and confirm soon after you are asked.",
    kind: "standing",
  },
  [ErrorReason.MERGE_OFFER_CHANGED]: {
    message: "One of the two accounts has changed since it was shown. Nothing was merged.",
    remedy: "Run `agentkeys link` again, and look at what merging would do now.",
    kind: "standing",
  },
  [ErrorReason.WALLET_NOT_LINKED]: {
    message: "This machine's wallet is no longer linked to the account.",
    remedy: "Run `agentkeys init` to link it again.",
  },
};

const passing = new Set([
  ErrorReason.RATE_LIMITED,
  ErrorReason.DPOP_REPLAYED,
  ErrorReason.LOGIN_PENDING,
  ErrorReason.MAIL_NOT_SENT,
  ErrorReason.PROVIDER_UNAVAILABLE,
  ErrorReason.CHAIN_UNAVAILABLE,
  ErrorReason.CHALLENGE_EXPIRED,
  ErrorReason.SIGNER_DISABLED,
  ErrorReason.BROKER_UNAVAILABLE,
  ErrorReason.SIGN_LOG_UNAVAILABLE,
  ErrorReason.STORE_UNAVAILABLE,
  ErrorReason.SHUTTING_DOWN,
  ErrorReason.INTERNAL,
  ErrorReason.DEADLINE,
]);

/** Nobody answered, or somebody who is no service of ours. */
function withoutReason({ code }: CallFailure, cause: unknown, { name, url, setting }: Callee): Problem {
  const subject = name === "broker" ? "BROKER" : "KEYS";
  const systemCode = systemCodeOf(cause);
  const isUntrusted = name === "key service" && systemCode === "DEPTH_ZERO_SELF_SIGNED_CERT";
  const remedy = isUntrusted
    ? `If it is a TEE worker, it has to be attested: set AGENTKEYS_ATTESTATION_POLICY. Else check ${setting}.`
    : `Check that it runs, and that ${setting} is right.`;
  const details = { remedy, cause };
  if (code === Code.Canceled) return new Problem("CANCELLED", "passing", "The call was broken off.", { cause });
  if (code === Code.DeadlineExceeded) {
    return new Problem(`${subject}_UNREACHABLE`, "passing", `The ${name} at ${url} did not answer in time.`, details);
  }
  if (systemCode !== undefined || code === Code.Unavailable || code === Code.Aborted) {
    const why = reachWords[systemCode ?? ""] ?? systemCode;
    const because = why === undefined ? "" : `: ${why}`;
    return new Problem(
      `${subject}_UNREACHABLE`,
      "passing",
      `The ${name} at ${url} cannot be reached${because}.`,
      details,
    );
  }
  return new Problem(
    `NOT_THE_${subject === "KEYS" ? "KEY_SERVICE" : subject}`,
    "passing",
    `What answers at ${url} is not an AgentKeys ${name}.`,
    {
      remedy: `Check ${setting}.`,
      cause,
    },
  );
}

const reachWords: Record<string, string> = {
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "there is no host of this name",
  EAI_AGAIN: "its name cannot be looked up right now",
  ETIMEDOUT: "it does not answer",
  EHOSTUNREACH: "there is no way to it",
  ENETUNREACH: "there is no way to it",
  ECONNRESET: "it broke the connection off",
  EPROTO: "it does not speak TLS there",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS there",
  CERT_HAS_EXPIRED: "its certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is not trusted by this machine",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is not trusted by this machine",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate is not trusted by this machine",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate is not trusted by this machine",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
};

/** The operating system's or Node's code for what went wrong, from anywhere in the chain of causes. */
function systemCodeOf(error: unknown): string | undefined {
  for (let link = error, depth = 0; link instanceof Error && depth < 10; link = link.cause, depth++) {
    if ("code" in link && typeof link.code === "string") return link.code;
  }
  return undefined;
}
