import type { DescService } from "@bufbuild/protobuf";
import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { type Client, createClient, type Transport } from "@connectrpc/connect";

import { AccountService } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";
import { BrokerService } from "@agentkeys/gen/agentkeys/broker/v1/broker_service_pb";
import { LoginService } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { SignLogService } from "@agentkeys/gen/agentkeys/keys/v1/sign_log_service_pb";
import { connectTransport, type TransportOptions } from "@agentkeys/lib/rpc";
import type { Secret } from "@agentkeys/lib/secret";
import { type DpopKey, presentSession } from "@agentkeys/lib/session";

import { type Callee, explainCall } from "./call-problem.ts";
import type { KeyServiceRoute } from "./key-service.ts";
import { Problem } from "./problem.ts";

/** What a call is made with: a proof by the device key always, and a session where there is one. */
export interface Presenting {
  key: DpopKey;
  token?: Secret;
}

/** The broker's services. Every call fails with a `Problem`. */
export interface Broker {
  login: Client<typeof LoginService>;
  wallet: Client<typeof BrokerService>;
  account: Client<typeof AccountService>;
}

/** Somewhat longer than the broker keeps a caller of AwaitLogin waiting. */
const TIMEOUT_MS = 30_000;

export function callBroker(url: string, presenting: Presenting): Broker {
  const callee = { name: "broker", url, setting: "AGENTKEYS_BROKER_URL" } as const;
  const to = (options: TransportOptions): Transport => connectTransport(url, options);
  return {
    login: client(LoginService, callee, to, presenting),
    wallet: client(BrokerService, callee, to, presenting),
    account: client(AccountService, callee, to, presenting),
  };
}

/** The key service, called directly: nothing for it ever goes through the broker. Every call fails with a `Problem`. */
export function callKeyService(route: KeyServiceRoute, presenting: Presenting): Client<typeof KeyService> {
  return client(KeyService, keyServiceAt(route), transportTo(route), presenting);
}

/** The key service's record of signatures. Every call fails with a `Problem`. */
export function callSignLog(route: KeyServiceRoute, presenting: Presenting): Client<typeof SignLogService> {
  return client(SignLogService, keyServiceAt(route), transportTo(route), presenting);
}

function transportTo({ url, connections }: KeyServiceRoute): (options: TransportOptions) => Transport {
  return (options) => connectTransport(url, { ...options, ...(connections && { connections }) });
}

function keyServiceAt({ url }: KeyServiceRoute): Callee {
  return { name: "key service", url, setting: "AGENTKEYS_KEYS_URL" };
}

/** A time out of an answer, in epoch milliseconds. @throws Problem ANSWER_INVALID */
export function timeOf(timestamp: Timestamp | undefined): number {
  if (timestamp === undefined) throw invalidAnswer("broker", "a time is missing");
  return timestampMs(timestamp);
}

/** An answer that keeps to the protocol but makes no sense. */
export function invalidAnswer(from: Callee["name"], what: string): Problem {
  return new Problem("ANSWER_INVALID", "standing", `The ${from}'s answer cannot be used: ${what}.`, {
    remedy: "It may be of another version than this program.",
  });
}

function client<S extends DescService>(
  service: S,
  callee: Callee,
  to: (options: TransportOptions) => Transport,
  { key, token }: Presenting,
): Client<S> {
  const interceptors = [presentSession(token === undefined ? { key } : { key, token: () => token })];
  const plain = createClient(service, to({ interceptors, timeoutMs: TIMEOUT_MS }));
  const explained = Object.entries(plain).map(([name, call]) => [
    name,
    // Every RPC of ours is unary, so every one gives a promise.
    async (...args: unknown[]) => {
      try {
        return await (call as (...args: unknown[]) => Promise<unknown>)(...args);
      } catch (error) {
        throw explainCall(error, callee);
      }
    },
  ]);
  return Object.fromEntries(explained) as Client<S>;
}
