import { createClient, type Interceptor } from "@connectrpc/connect";

import { LoginService } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import type { Clock } from "@agentkeys/lib/clock";
import { connectTransport } from "@agentkeys/lib/rpc";
import {
  authenticate,
  createDpopVerifier,
  createRevocationCache,
  createSessionVerifier,
  remoteSessionKeys,
} from "@agentkeys/lib/session";

/** Lets in who has a session of the broker's, and says whether the broker can be asked. */
export interface BrokerAdmission {
  interceptor: Interceptor;
  /** Rejects while the broker does not answer. */
  isReachable: () => Promise<void>;
}

/** `origins`: what callers may have called this server, for the `htu` of their DPoP proofs. */
export function admitByBroker(
  broker: { url: string; issuer: string },
  { origins, clock }: { origins: () => readonly string[]; clock: Clock },
): BrokerAdmission {
  const login = createClient(LoginService, connectTransport(broker.url, { timeoutMs: 5_000 }));
  const fetchRevoked = async (): Promise<string[]> => (await login.listRevokedSessions({})).sessionIds;
  return {
    interceptor: authenticate({
      accountOwner: "session",
      verifier: createSessionVerifier({
        issuer: broker.issuer,
        keys: remoteSessionKeys(`${broker.url}/.well-known/agentkeys-session-jwks.json`),
        isRevoked: createRevocationCache({ fetchRevoked, clock }),
        clock,
      }),
      dpop: createDpopVerifier({ origins, clock }),
    }),
    isReachable: async () => {
      await fetchRevoked();
    },
  };
}
