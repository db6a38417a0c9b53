import type { DescMethodUnary, Message } from "@bufbuild/protobuf";

import type { Answer } from "./answer.ts";

/** The headers that a caller proves itself with; a DPoP proof is made for one request, so they are asked for with each. */
export type Credentials = (request: { method: string; url: string }) => Promise<Record<string, string>>;

/** A caller who proves nothing. */
export const anonymous: Credentials = () => Promise.resolve({});

/** One way to call one RPC. */
export interface Protocol {
  /** For the names of tests: `gRPC`, `POST /dev/derive-address, camelCase`. */
  name: string;
  /** Whether the protocol has a way to say this message; absent: it can say all. */
  carries?(message: Message): boolean;
  /** Sends the message. Throws only when what comes back is not what the protocol allows. */
  call(message: Message, credentials: Credentials): Promise<Answer>;
}

/** Makes the protocol for an RPC of the server at `baseUrl`. */
export type ProtocolFactory = (rpc: DescMethodUnary, baseUrl: string) => Protocol;
