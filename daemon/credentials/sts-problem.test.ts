import { UnsecuredJWT } from "jose";
import { describe, expect, test } from "vitest";

import { Secret } from "@agentkeys/lib/secret";

import { explainSts } from "./sts-problem.ts";

const request = {
  jwt: new Secret(
    new UnsecuredJWT({
      iss: "https://broker.example",
      aud: "sts.amazonaws.com",
      sub: "agentkeys:wallet:0xab",
    }).encode(),
  ),
  roleArn: "arn:aws:iam::123456789012:role/agents",
  sessionSeconds: 43_200,
};

/** As the SDK throws it. */
function refusal(name: string, httpStatusCode: number | undefined, message: string): Error {
  return Object.assign(new Error(message), { name, $metadata: { httpStatusCode } });
}

describe("a refusal by STS", () => {
  test.each([
    [
      "InvalidIdentityTokenException",
      "Incorrect token audience",
      ["`aud` is sts.amazonaws.com", "https://broker.example"],
    ],
    [
      "InvalidIdentityTokenException",
      "No OpenIDConnect provider found in your account for https://broker.example",
      ["`iss` is https://broker.example", "account 123456789012"],
    ],
    [
      "InvalidIdentityTokenException",
      "Couldn't retrieve verification key from your identity provider,  please reference …",
      ["`kid`", "https://broker.example/.well-known/openid-configuration"],
    ],
    ["InvalidIdentityTokenException", "Missing a required claim: aud", ["another version"]],
    ["InvalidIdentityTokenException", "something new", ["`iss` (https://broker.example)", "`aud` (sts.amazonaws.com)"]],
    ["ExpiredTokenException", "Token expired: …", ["`exp`", "clock of the broker's machine"]],
    ["IDPRejectedClaimException", "rejected", ["`aud` (sts.amazonaws.com)"]],
    [
      "AccessDenied",
      "Not authorized to perform sts:AssumeRoleWithWebIdentity",
      [
        "trust policy of arn:aws:iam::123456789012:role/agents",
        "sts:TagSession",
        "`sub` agentkeys:wallet:0xab",
        "no such role",
      ],
    ],
    [
      "ValidationError",
      "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
      ["AGENTKEYS_AWS_SESSION_SECONDS is 43200"],
    ],
    ["ValidationError", "Value 'x' at 'roleArn' failed to satisfy constraint", ["AGENTKEYS_AWS_ROLE_ARN"]],
    ["PackedPolicyTooLargeException", "too large", ["session tags"]],
    ["RegionDisabledException", "STS is not activated in this region", ["AWS_REGION"]],
    ["SomethingNew", "unheard of", ["deploy/aws"]],
  ])("%s (%s) is explained by its likely cause", (name, message, words) => {
    const problem = explainSts(refusal(name, 400, message), request);
    expect(problem).toMatchObject({ reason: "STS_REFUSED", kind: "standing", exitCode: 1 });
    expect(problem.message).toBe(`AWS STS refused: ${name.replace("Exception", "")}: ${message}`);
    for (const word of words) expect(problem.details.remedy).toContain(word);
  });

  test.each([
    ["IDPCommunicationErrorException", 400, "STS_IDP_UNREACHABLE"],
    ["Throttling", 400, "STS_BUSY"],
    ["ThrottlingException", 429, "STS_BUSY"],
    ["ServiceUnavailable", 503, "STS_BUSY"],
    ["InternalFailure", 500, "STS_BUSY"],
    ["TimeoutError", undefined, "STS_UNREACHABLE"],
    ["Error", undefined, "STS_UNREACHABLE"],
  ])("%s (%s) passes by itself", (name, status, reason) => {
    expect(explainSts(refusal(name, status, "m"), request)).toMatchObject({ reason, kind: "passing" });
  });

  test("of a token that cannot even be read is explained without its claims", () => {
    const problem = explainSts(refusal("InvalidIdentityTokenException", 400, "Incorrect token audience"), {
      ...request,
      jwt: new Secret("garbage"),
    });
    expect(problem.text).toContain("`aud` is missing");
  });

  test("carries neither the token nor what could move a cursor", () => {
    const problem = explainSts(refusal("Ac\u001b[2Jcess", 403, "a\r\nb\u001b]0;title\u0007"), request);
    expect(problem.text).not.toContain(request.jwt.reveal());
    // eslint-disable-next-line no-control-regex -- the point of the test
    expect(problem.text).not.toMatch(/[\u0000-\u001f]/);
  });
});
