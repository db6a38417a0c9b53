import type { Client } from "@connectrpc/connect";

import type { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import type { SignLogService } from "@agentkeys/gen/agentkeys/keys/v1/sign_log_service_pb";
import type { Clock } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";
import type { Secret } from "@agentkeys/lib/secret";
import { createDpopKey } from "@agentkeys/lib/session";

import type { KeyServiceRoute } from "./key-service.ts";
import { type Broker, callBroker, callKeyService, callSignLog, invalidAnswer } from "./services.ts";
import type { Enrolment } from "./state/index.ts";

/** What an enrolled machine can do at the services. Each call carries a fresh proof by the device key. */
export interface Access {
  enrolment: Enrolment;
  /** With the identity session: manages the account and the session itself. */
  asPerson: Broker;
  /** Without a session, by the device key alone. */
  asMachine: Broker;
  /** With a wallet session. */
  asWallet(token: Secret): Broker;
  /** The key service, with the identity session. */
  keys: Client<typeof KeyService>;
  /** The key service's record of signatures, with the identity session. */
  signLog: Client<typeof SignLogService>;
  /** Remembers where a signature of the key service stands in its record, where that was attested. @throws Problem ANSWER_INVALID, STATE_* */
  recorded(index: bigint | undefined): Promise<void>;
}

/** Opens the services for what is kept on this machine. */
export async function accessFor(
  enrolment: Enrolment,
  o: { keyService: KeyServiceRoute; clock: Clock; random: RandomBytes },
): Promise<Access> {
  const key = await createDpopKey(enrolment.deviceKey, o);
  const { brokerUrl, session } = enrolment;
  return {
    enrolment,
    asPerson: callBroker(brokerUrl, { key, token: session.token }),
    asMachine: callBroker(brokerUrl, { key }),
    asWallet: (token) => callBroker(brokerUrl, { key, token }),
    keys: callKeyService(o.keyService, { key, token: session.token }),
    signLog: callSignLog(o.keyService, { key, token: session.token }),
    recorded: async (index) => {
      if (index === undefined) return;
      if (index > Number.MAX_SAFE_INTEGER) throw invalidAnswer("key service", "an index in its sign log is none");
      await o.keyService.answered?.(Number(index));
    },
  };
}
