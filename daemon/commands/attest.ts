import { open } from "node:fs/promises";

import { canonicalJson } from "@agentkeys/lib/evidence/canonical-json";
import { AttestationError } from "@agentkeys/lib/evidence";

import { appraise, type Check, examine } from "@agentkeys/lib/attested/appraise";
import { askForEvidence } from "@agentkeys/lib/attested/ask";
import { type Connection, openConnection } from "../attestation/connection.ts";
import { draftPolicy } from "../attestation/draft.ts";
import { headOf, refused, witnessLog } from "../attestation/index.ts";
import { type Policy, readPolicyFile } from "../attestation/policy.ts";
import { explainCall } from "../call-problem.ts";
import { type Context, stateFolderOf } from "../context.ts";
import { answer, duration } from "../output.ts";
import { printable } from "../printable.ts";
import { ExitCode, Problem, problemOf } from "../problem.ts";
import { ATTESTATION_POLICY } from "../settings.ts";

/** `agentkeys attest verify`: every check of the policy on a new connection, and whether it holds. Ends with 1 where one does not. */
export async function verifyAttestation(context: Context): Promise<number> {
  const { io, settings } = context;
  const policy = await readPolicyFile(requirePolicy(context));
  return await onConnection(context, async (connection) => {
    const { answer: given, asked } = await askForEvidence(connection, { ...io, policy });
    const { checks, appraisal } = examine(given, asked, policy);
    const all: { name: string; code?: string; found: string }[] = checks.map(shown);
    if (appraisal !== undefined) all.push(await continuation(context, connection, policy, headOf(appraisal)));
    const passed = appraisal !== undefined && all.every(({ code }) => code === undefined);
    answer(
      context,
      {
        url: settings.keysUrl,
        verified: passed,
        checks: all.map(({ name, code, found }) => ({ check: name, passed: code === undefined, code, found })),
        warnings: appraisal?.verified.warnings ?? [],
      },
      [
        ...all.map(({ name, code, found }) => `${code === undefined ? "pass" : "FAIL"}  ${name.padEnd(15)} ${found}`),
        ...(appraisal?.verified.warnings ?? []).map((warning) => `note  ${printable(warning)}`),
        passed
          ? `The key service at ${settings.keysUrl} is what the policy demands.`
          : `The key service at ${settings.keysUrl} is NOT what the policy demands. Nothing but a nonce was sent to it.`,
      ],
    );
    return passed ? ExitCode.ok : ExitCode.failure;
  });
}

/** `agentkeys attest enroll`: writes a policy that demands what is there now, for a person to review. Never over a file that is there. */
export async function enrollAttestation(
  context: Context,
  { output, rootSha256 = [] }: { output?: string; rootSha256?: readonly string[] },
): Promise<void> {
  const { io, settings } = context;
  const path = output ?? settings.attestationPolicy;
  if (path === undefined) {
    throw new Problem("USAGE", "usage", "Say where the policy is to be written.", {
      remedy: `Give --output FILE, or set ${ATTESTATION_POLICY} to a file that is not there yet.`,
    });
  }
  const roots = rootSha256.map(readRoot);
  await onConnection(context, async (connection) => {
    const { answer: given, asked } = await askForEvidence(connection, io);
    const { text, platform } = draftPolicy(given, asked, { roots });
    await writeNew(path, text);
    answer(context, { policy_file: path, policy: JSON.parse(text) as object }, [
      `${path} demands what the key service at ${settings.keysUrl} showed just now:`,
      "",
      ...text.trimEnd().split("\n"),
      "",
      "REVIEW IT. Nothing above proves that this is the right key service: anybody can run the same code on hardware of their own.",
      `Compare identity_keys, log.vkey and the ${platform.type} values with those that its operator and its build publish; then`,
      `set ${ATTESTATION_POLICY} to it.`,
    ]);
  });
}

/** `agentkeys attest explain`: what the policy demands, in words. */
export async function explainAttestation(context: Context): Promise<void> {
  const path = requirePolicy(context);
  const policy = await readPolicyFile(path);
  const { signer, maxEvidenceAgeMs, reattestAfterMs, clockSkewMs, identityKeys, settings, logKey, platforms } = policy;
  const { minSecurityVersion } = policy;
  const lines = [
    `A key service is believed on a connection only if its hardware vouches, no more than ${maxEvidenceAgeMs / 1000} s ago (this machine's clock may be`,
    `${clockSkewMs / 1000} s behind), for this machine's nonce and for that very TLS connection: its key and its exporter (RFC 9266). It is asked again`,
    `on every new connection, and after ${duration(reattestAfterMs)} on one that is in use. Until then nothing but a nonce is sent.`,
    "",
    `  it holds one of the identity keys   ${identityKeys.join(", ")}`,
    `  it is set to exactly                ${canonicalJson(settings)}`,
    ...(minSecurityVersion === undefined
      ? []
      : [`  its master secret opens for         releases of security version ${minSecurityVersion} and later only`]),
    `  its sign log is                     ${signer}, signed by ${logKey}; only ever longer than this machine last saw it`,
    "",
    platforms.length === 1 ? "and it runs on:" : "and it runs on one of:",
    ...platforms.flatMap(({ type, demands }) => [
      "",
      `  ${type}: ${nature[type]}`,
      ...demands.map((line) => `    ${line}`),
    ]),
  ];
  answer(
    context,
    {
      policy_file: path,
      signer,
      channel: policy.channel,
      max_evidence_age_s: maxEvidenceAgeMs / 1000,
      reattest_every_s: reattestAfterMs / 1000,
      clock_skew_s: clockSkewMs / 1000,
      identity_keys: identityKeys,
      settings,
      ...(minSecurityVersion !== undefined && { min_security_version: minSecurityVersion }),
      log_vkey: logKey,
      platforms: platforms.map(({ type, demands }) => ({ type, protects: nature[type], demands })),
    },
    lines,
  );
}

/** What each kind of hardware protects, and from whom; SECURITY.md says more. */
const nature = {
  tpm2: "the code is measured and the master secret sealed to it; whoever is root on the machine, or runs it, can read its memory",
  "aws-nitro": "an enclave or a machine whose memory AWS's hypervisor keeps from its operator; AWS itself is trusted",
  "sev-snp": "memory encrypted against the machine's owner by the processor; AMD is trusted",
  tdx: "memory encrypted against the machine's owner by the processor; Intel is trusted",
  "azure-cvm": "memory encrypted against the machine's owner by the processor; its virtual TPM is Microsoft's",
  soft: "NOTHING: keys in a file, for development",
} as const;

function shown({ name, error, found }: Check): { name: string; code?: string; found: string } {
  return { name, found: printable(found), ...(error !== undefined && { code: error.code }) };
}

async function continuation(
  context: Context,
  connection: Connection,
  policy: Policy,
  head: ReturnType<typeof headOf>,
): Promise<{ name: string; code?: string; found: string }> {
  const again = async (): Promise<ReturnType<typeof headOf>> => {
    const { answer: given, asked } = await askForEvidence(connection, { ...context.io, policy });
    return headOf(appraise(given, asked, policy));
  };
  try {
    await witnessLog(head, { connection, policy, stateFolder: stateFolderOf(context), again });
    return { name: "continuation", found: `of what this machine saw before; entries: ${head.size}` };
  } catch (error) {
    const problem = problemOf(error);
    if (!problem.reason.startsWith("SIGN_LOG_")) throw problem;
    return { name: "continuation", code: problem.reason, found: problem.text };
  }
}

async function onConnection<T>(context: Context, work: (connection: Connection) => Promise<T>): Promise<T> {
  const { keysUrl } = context.settings;
  if (!keysUrl.startsWith("https://")) {
    throw new Problem(
      "SETTINGS",
      "configuration",
      `AGENTKEYS_KEYS_URL is ${keysUrl}, and only a TLS connection can be attested.`,
      {
        remedy: "Set it to the https:// URL of a TEE worker.",
      },
    );
  }
  try {
    const connection = await openConnection(keysUrl);
    try {
      return await work(connection);
    } finally {
      connection.close();
    }
  } catch (error) {
    if (error instanceof AttestationError) throw refused(keysUrl, error);
    throw explainCall(error, { name: "key service", url: keysUrl, setting: "AGENTKEYS_KEYS_URL" });
  }
}

function requirePolicy({ settings }: Context): string {
  if (settings.attestationPolicy !== undefined) return settings.attestationPolicy;
  throw new Problem(
    "SETTINGS",
    "configuration",
    `${ATTESTATION_POLICY} is not set: this machine demands no proof of its key service.`,
    {
      remedy: "Set it to a policy; `agentkeys attest enroll --output FILE` writes one for you to review.",
    },
  );
}

function readRoot(text: string): string {
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  throw new Problem(
    "USAGE",
    "usage",
    "--root-sha256 is not the SHA-256 of a certificate: 64 lower-case hex characters.",
  );
}

async function writeNew(path: string, text: string): Promise<void> {
  try {
    const file = await open(path, "wx", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    const exists = error instanceof Error && "code" in error && error.code === "EEXIST";
    throw new Problem(
      exists ? "POLICY_EXISTS" : "POLICY_NOT_WRITTEN",
      "standing",
      exists ? `${path} is there already, and is never overwritten.` : `${path} cannot be written.`,
      { remedy: "Give --output with another file, and compare the two.", cause: error },
    );
  }
}
