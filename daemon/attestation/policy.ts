import { dirname } from "node:path";

import { type NamedFiles, type Policy, readNamedFiles, readPolicy } from "@agentkeys/lib/attested/policy";
import { PolicyFields } from "@agentkeys/lib/attested/policy-fields";
import { readGuardedFile, UnreadableFile } from "@agentkeys/lib/attested/policy-files";
import { parsePolicyJson } from "@agentkeys/lib/attested/policy-json";
import { PolicyRefused } from "@agentkeys/lib/attested/policy-refused";

import { Problem } from "../problem.ts";

export type { Policy };

/** Reads the policy file, and the measurements and revocation lists that it names. Nobody else may be able to change it. @throws Problem POLICY_* */
export async function readPolicyFile(path: string): Promise<Policy> {
  try {
    const text = await readGuardedFile(path);
    return parsePolicy(text, await readNamedFiles(parsePolicyJson(text), dirname(path)));
  } catch (error) {
    if (error instanceof UnreadableFile) throw unreadable(path, error.message, error);
    throw asProblem(error);
  }
}

/** `files` is what the files hold that it names. @throws Problem POLICY_INVALID with the place and what should be there */
export function parsePolicy(text: string, files: NamedFiles = { measured: new Map(), lists: new Map() }): Policy {
  try {
    return readPolicy(new PolicyFields("", parsePolicyJson(text)), files);
  } catch (error) {
    throw asProblem(error);
  }
}

function asProblem(error: unknown): unknown {
  if (!(error instanceof PolicyRefused)) return error;
  if (error.reason === "POLICY_PERMISSIONS") {
    const remedy = error.remedy === undefined ? {} : { remedy: error.remedy };
    return new Problem(error.reason, "configuration", `${error.message}.`, { ...remedy, cause: error });
  }
  return new Problem(error.reason, "configuration", `The attestation policy cannot be used: ${error.message}.`, {
    remedy: "Put the file that AGENTKEYS_ATTESTATION_POLICY names right; `agentkeys attest explain` reads it too.",
    cause: error,
  });
}

function unreadable(path: string, why: string, cause?: unknown): Problem {
  return new Problem("POLICY_UNREADABLE", "configuration", `The attestation policy ${path} cannot be read: ${why}.`, {
    remedy: "Set AGENTKEYS_ATTESTATION_POLICY to the policy; `agentkeys attest enroll` writes one for you to review.",
    cause,
  });
}
