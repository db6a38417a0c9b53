import type { Logger } from "../log.ts";
import type { Exchange } from "./exchange.ts";
import { answerJson, methodNotAllowed } from "./json-answer.ts";
import { loggableError } from "./loggable-error.ts";
import type { Readiness, ReadinessState } from "./readiness.ts";

/** Whether the process lives and can work: for orchestrators, load balancers and grpc.health.v1. */
export interface Probes {
  /** Looks at every dependency now and logs what changed. A server that stops is not ready. */
  look(): Promise<ReadinessState>;
  /** Answers /livez and /readyz; false for every other path. Throws an HttpRefusal for anything but GET and HEAD. */
  answer(exchange: Exchange): Promise<boolean>;
}

export function createProbes(readiness: Readiness, stopping: AbortSignal, log: Logger): Probes {
  const failing = new Set<string>();
  const look = async (): Promise<ReadinessState> => {
    const state = await readiness.look();
    for (const [dependency, { ready, error }] of Object.entries(state.dependencies)) {
      if (ready && failing.delete(dependency)) log.info({ dependency }, "dependency recovered");
      if (ready || failing.has(dependency)) continue;
      failing.add(dependency);
      log.warn({ dependency, error: loggableError(error) }, "dependency failed");
    }
    return stopping.aborted ? { ...state, ready: false } : state;
  };
  const answer = async (exchange: Exchange): Promise<boolean> => {
    const { info, response, record } = exchange;
    if (info.path !== "/livez" && info.path !== "/readyz") return false;
    if (info.method !== "GET" && info.method !== "HEAD") throw methodNotAllowed(["GET", "HEAD"]);
    record.quiet = true;
    response.setHeader("cache-control", "no-store");
    if (info.path === "/livez") {
      answerJson(response, 200, { live: true });
    } else {
      const state = await look();
      answerJson(response, state.ready ? 200 : 503, outsideView(state));
    }
    return true;
  };
  return { look, answer };
}

/** Names each dependency; why one fails is told only where its check failed with a `Failure`, which is written for strangers. */
function outsideView({ ready, dependencies }: ReadinessState) {
  const entries = Object.entries(dependencies).map(([name, { ready: isReady, reason, message }]) => {
    return [name, { ready: isReady, ...(reason !== undefined && { reason, message }) }];
  });
  return { ready, dependencies: Object.fromEntries(entries) as Record<string, unknown> };
}
