import { decodeJwt, type JWTPayload } from "jose";

import type { Secret } from "@agentkeys/lib/secret";

import { printable } from "../printable.ts";
import { Problem } from "../problem.ts";
import { ROLE_ARN } from "../settings.ts";

/** What was asked of STS. */
export interface StsRequest {
  jwt: Secret;
  roleArn: string;
  sessionSeconds: number;
}

/** Says why STS gave no credentials, and which claim or setting is the most likely cause. */
export function explainSts(error: unknown, request: StsRequest): Problem {
  if (error instanceof Problem) return error;
  const { code, message, status } = read(error);
  if (status === undefined) {
    return new Problem("STS_UNREACHABLE", "passing", `AWS STS cannot be reached (${code}).`, {
      remedy: "Check the network, and AWS_ENDPOINT_URL_STS or AWS_REGION if they are set.",
      cause: error,
    });
  }
  if (code === "IDPCommunicationError") {
    return new Problem("STS_IDP_UNREACHABLE", "passing", `AWS STS could not reach the broker's keys: ${message}`, {
      remedy: `${claimsOf(request.jwt).issuer}/.well-known/openid-configuration must answer within 5 seconds from the Internet.`,
      cause: error,
    });
  }
  if (status >= 500 || status === 429 || /Throttl|TooManyRequests|RequestLimitExceeded|SlowDown/.test(code)) {
    return new Problem("STS_BUSY", "passing", `AWS STS is not able to answer right now: ${code}.`, {
      remedy: "Try again in a moment.",
      cause: error,
    });
  }
  return new Problem("STS_REFUSED", "standing", `AWS STS refused: ${code}: ${message}`, {
    remedy: causes.find((cause) => cause.code.test(code) && cause.message.test(message))?.remedy(request) ?? ELSE,
    cause: error,
  });
}

interface Cause {
  code: RegExp;
  message: RegExp;
  remedy: (request: StsRequest) => string;
}

const ANY = /(?:)/;
const ELSE =
  "The IAM OIDC provider, the role's trust policy and the broker's public URL have to go together; see deploy/aws.";

/** The first that fits is the most likely one. The messages are AWS's; where they change, the last of a code still fits. */
const causes: Cause[] = [
  {
    code: /^InvalidIdentityToken/,
    message: /audience/i,
    remedy: ({ jwt }) =>
      `The claim \`aud\` is ${claimsOf(jwt).audience}: add it to the client ids of the IAM OIDC provider for ${claimsOf(jwt).issuer}.`,
  },
  {
    code: /^InvalidIdentityToken/,
    message: /No OpenIDConnect provider/i,
    remedy: ({ jwt, roleArn }) =>
      `The claim \`iss\` is ${claimsOf(jwt).issuer}: account ${accountOf(roleArn)} needs an IAM OIDC provider with exactly this URL.`,
  },
  {
    code: /^InvalidIdentityToken/,
    message: /verification key|signature|thumbprint/i,
    remedy: ({ jwt }) =>
      `The key that signed (\`kid\`) was not found at the claim \`iss\`: ${claimsOf(jwt).issuer}/.well-known/openid-configuration must be ` +
      "this broker's, reachable from the Internet over https.",
  },
  {
    code: /^InvalidIdentityToken/,
    message: /required claim|tag/i,
    remedy: () => "The broker's tokens lack what AWS wants: it may be of another version than this program.",
  },
  {
    code: /^InvalidIdentityToken/,
    message: ANY,
    remedy: ({ jwt }) =>
      `Compare the claims \`iss\` (${claimsOf(jwt).issuer}) and \`aud\` (${claimsOf(jwt).audience}) with the IAM OIDC provider.`,
  },
  {
    code: /^ExpiredToken/,
    message: ANY,
    remedy: () => "The claim `exp` is past for AWS though the token is new: check the clock of the broker's machine.",
  },
  {
    code: /^IDPRejectedClaim/,
    message: ANY,
    remedy: ({ jwt }) =>
      `Compare the claims \`iss\` (${claimsOf(jwt).issuer}) and \`aud\` (${claimsOf(jwt).audience}) with the IAM OIDC provider.`,
  },
  {
    code: /^AccessDenied/,
    message: ANY,
    remedy: ({ jwt, roleArn }) =>
      `The trust policy of ${roleArn} must allow sts:AssumeRoleWithWebIdentity and sts:TagSession to the provider, with conditions that ` +
      `fit \`aud\` ${claimsOf(jwt).audience} and \`sub\` ${claimsOf(jwt).subject}; or there is no such role (${ROLE_ARN}).`,
  },
  {
    code: /^ValidationError/,
    message: /durationSeconds/i,
    remedy: ({ sessionSeconds }) =>
      `AGENTKEYS_AWS_SESSION_SECONDS is ${sessionSeconds}: set it to no more than the role's maximum session duration.`,
  },
  { code: /^ValidationError/, message: ANY, remedy: ({ roleArn }) => `Check ${ROLE_ARN}, which is ${roleArn}.` },
  {
    code: /^PackedPolicyTooLarge/,
    message: ANY,
    remedy: () => "The session tags of the token (`https://aws.amazon.com/tags`) are too large for this account.",
  },
  {
    code: /^RegionDisabled/,
    message: ANY,
    remedy: () => "Switch STS on in this region (IAM, account settings), or set AWS_REGION to another one.",
  },
];

function read(error: unknown): { code: string; message: string; status: number | undefined } {
  if (!(error instanceof Error)) return { code: "unknown", message: "", status: undefined };
  const { $metadata, code } = error as Error & { $metadata?: { httpStatusCode?: number }; code?: unknown };
  // The SDK names its exception classes after the codes, most of them with "Exception" behind.
  const name = error.name === "Error" && typeof code === "string" ? code : error.name.replace(/Exception$/, "");
  return { code: printable(name), message: printable(error.message), status: $metadata?.httpStatusCode };
}

function claimsOf(jwt: Secret): { issuer: string; audience: string; subject: string } {
  const { iss, aud, sub } = decoded(jwt);
  return { issuer: iss ?? "missing", audience: String(aud ?? "missing"), subject: sub ?? "missing" };
}

function decoded(jwt: Secret): JWTPayload {
  try {
    return decodeJwt(jwt.reveal());
  } catch {
    return {};
  }
}

function accountOf(roleArn: string): string {
  return roleArn.split(":")[4] ?? "";
}
