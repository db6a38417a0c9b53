import type { Context } from "../context.ts";
import { credentialProcessOutput } from "../credentials/delivery/credential-process.ts";
import { cachedCredentials } from "../credentials/cached-credentials.ts";
import { warn } from "../output.ts";
import { requireRole } from "../settings.ts";

/**
 * `agentkeys creds`: AWS credentials in the form that `credential_process` wants, and nothing else on standard output. This is what
 * AWS's SDKs start again and again, so that with credentials at hand it loads next to nothing.
 */
export async function creds(context: Context): Promise<void> {
  const credentials = await cachedCredentials(context, requireRole(context.settings.aws), (problem) =>
    warn(context, problem),
  );
  context.io.stdout.write(credentialProcessOutput(credentials));
}
