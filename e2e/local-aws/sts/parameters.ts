import { AwsError } from "../aws-error.ts";
import { parsePolicy, type Statement } from "../policy/document.ts";

/** What a caller of AssumeRoleWithWebIdentity asks for, checked as the API's model says. */
export interface AssumeRoleParameters {
  roleArn: string;
  roleSessionName: string;
  webIdentityToken: string;
  /** Seconds; `undefined` stands for an hour. */
  durationSeconds: number | undefined;
  /** Narrows what the session may do. */
  sessionPolicy: { text: string; statements: readonly Statement[] } | undefined;
}

/** Throws ValidationError, which lists everything that is wrong, or MalformedPolicyDocument. */
export function parseParameters(form: URLSearchParams): AssumeRoleParameters {
  const problems: string[] = [];
  const take = (name: string, rule: Rule): string => {
    const value = form.get(name);
    problems.push(...violations(name, value, rule));
    return value ?? "";
  };

  const roleArn = take("RoleArn", { min: 20, max: 2048 });
  const roleSessionName = take("RoleSessionName", { min: 2, max: 64, pattern: /^[\w+=,.@-]*$/ });
  const webIdentityToken = take("WebIdentityToken", { min: 4, max: 20_000 });
  const policy = form.has("Policy") ? take("Policy", { min: 1, max: 2048, pattern: /^[\t\n\r -\u00FF]*$/ }) : undefined;
  const duration = form.get("DurationSeconds");
  if (duration !== null) problems.push(...durationViolations(duration));
  if (problems.length > 0) {
    throw invalid(
      `${problems.length} validation error${problems.length > 1 ? "s" : ""} detected: ${problems.join("; ")}`,
    );
  }

  if (!/^arn:aws:iam::\d{12}:role\/[\w+=,.@/-]+$/.test(roleArn)) throw invalid(`${roleArn} is invalid`);
  if (form.has("ProviderId")) throw invalid("ProviderId must not be given with an OpenID Connect ID token");
  if ([...form.keys()].some((name) => name.startsWith("PolicyArns"))) {
    throw invalid("This stand-in has no managed policies to be named in PolicyArns");
  }
  return {
    roleArn,
    roleSessionName,
    webIdentityToken,
    durationSeconds: duration === null ? undefined : Number(duration),
    sessionPolicy: policy === undefined ? undefined : { text: policy, statements: parsePolicy(policy, "permissions") },
  };
}

interface Rule {
  min: number;
  max: number;
  pattern?: RegExp;
}

function violations(name: string, value: string | null, { min, max, pattern }: Rule): string[] {
  if (value === null) return [violation(name, "null", "not be null")];
  // A token is never repeated in an answer.
  const shown = name === "WebIdentityToken" || value.length > 100 ? "'***'" : `'${value}'`;
  const found: string[] = [];
  if (value.length < min) found.push(violation(name, shown, `have length greater than or equal to ${min}`));
  if (value.length > max) found.push(violation(name, shown, `have length less than or equal to ${max}`));
  if (pattern?.test(value) === false) {
    found.push(violation(name, shown, `satisfy regular expression pattern: ${pattern.source.slice(1, -1)}`));
  }
  return found;
}

function durationViolations(value: string): string[] {
  const seconds = /^\d{1,9}$/.test(value) ? Number(value) : 0;
  if (seconds < 900) return [violation("DurationSeconds", `'${value}'`, "have value greater than or equal to 900")];
  if (seconds > 43_200) return [violation("DurationSeconds", `'${value}'`, "have value less than or equal to 43200")];
  return [];
}

function violation(parameter: string, value: string, must: string): string {
  const member = parameter.charAt(0).toLowerCase() + parameter.slice(1);
  return `Value ${value} at '${member}' failed to satisfy constraint: Member must ${must}`;
}

function invalid(message: string): AwsError {
  return new AwsError("ValidationError", 400, message);
}
