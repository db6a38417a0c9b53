import { type Context, stateOf } from "../context.ts";
import { type Problem, problemOf } from "../problem.ts";
import type { AwsSettings } from "../settings.ts";
import type { Enrolment } from "../state/index.ts";
import { type AwsCredentials, isUsable, refreshTime } from "./aws-credentials.ts";
import { openCache, type Purpose } from "./cache.ts";

/**
 * The credentials kept in the state folder, or new ones where those are due to be replaced: fetched by one process, for all that
 * wait. Credentials that still work are better than none; why there are no newer ones goes to `onTrouble`. @throws Problem
 */
export async function cachedCredentials(
  context: Context,
  aws: Required<AwsSettings>,
  onTrouble: (problem: Problem) => void,
): Promise<AwsCredentials> {
  const { clock } = context.io;
  const state = stateOf(context);
  const cache = openCache(state.folder, purposeOf(context, aws, await state.require()));
  const isFresh = (credentials: AwsCredentials): boolean =>
    clock() < refreshTime(credentials) && isUsable(credentials, clock());

  const kept = await cache.read();
  if (kept !== undefined && isFresh(kept)) return kept;
  // Everything below takes longer to load than what is above takes to run.
  const { withLock } = await import("../state/lock.ts");
  const { assumeRoleFor, fetchCredentials, openMachine } = await import("../machine.ts");
  try {
    return await withLock(state.folder, cache.lockName, async (lock) => {
      const meanwhile = await cache.read();
      if (meanwhile !== undefined && isFresh(meanwhile)) return meanwhile;
      const fetched = await fetchCredentials(openMachine(context, { onTrouble }), assumeRoleFor(context, aws));
      try {
        lock.check();
        await cache.write(fetched);
      } catch (error) {
        onTrouble(problemOf(error));
      }
      return fetched;
    });
  } catch (error) {
    const problem = problemOf(error);
    if (kept === undefined || !isUsable(kept, clock()) || problem.kind === "sign-in") throw problem;
    onTrouble(problem);
    return kept;
  }
}

function purposeOf({ io, settings }: Context, aws: Required<AwsSettings>, enrolment: Enrolment): Purpose {
  const { AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION } = io.env;
  return {
    brokerUrl: settings.brokerUrl,
    omniAccount: enrolment.omniAccount,
    walletAddress: enrolment.walletAddress ?? "",
    ...aws,
    sts: [AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION].map((value) => value ?? "").join(" "),
  };
}
