import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { type Clock, systemClock } from "@agentkeys/lib/clock";
import { listenAt } from "@agentkeys/lib/listen";
import type { Logger } from "@agentkeys/lib/log";
import { type RandomBytes, randomId, systemRandom } from "@agentkeys/lib/random";
import type { ListenAddress } from "@agentkeys/lib/settings/kinds";

import type { HttpAnswer } from "./answer.ts";
import { AwsError } from "./aws-error.ts";
import { type AdminKey, authenticate } from "./caller.ts";
import { createRegistry } from "./iam/registry.ts";
import { randomName } from "./names.ts";
import { createBuckets } from "./s3/buckets.ts";
import { callQueryService, queryErrorDocument } from "./query-service.ts";
import { callS3 } from "./s3/service.ts";
import type { WireRequest } from "./sigv4.ts";
import { createSessionCredentials } from "./sts/session-credentials.ts";
import { xmlDocument } from "./xml.ts";

export const STAND_IN_NOTICE = "a local stand-in for AWS STS, IAM and S3, not AWS: for demonstrations and tests only";

const MAX_BODY_BYTES = 16 * 1024 * 1024;
/** AWS gives an identity provider this long. */
const IDP_TIMEOUT_MS = 5000;

export interface LocalAws {
  /** The one endpoint of all three services. */
  url: string;
  accountId: string;
  admin: AdminKey;
  /** The next AssumeRoleWithWebIdentity is answered by this error, whatever it asks: for errors that need a real AWS. */
  failNext(error: AwsError): void;
  close(): Promise<void>;
}

/**
 * Starts a stand-in for the few calls of STS, IAM and S3 that AgentKeys meets, on one port, everything in memory. It verifies
 * ID tokens, trust policies, signatures and permissions as AWS documents them, and refuses what it does not know.
 */
export async function startLocalAws(o: {
  listen?: ListenAddress;
  accountId?: string;
  /** 32 bytes that session tokens are encrypted with; credentials outlive a restart when they stay the same. */
  key?: Uint8Array;
  clock?: Clock;
  random?: RandomBytes;
  log?: Logger;
  idpTimeoutMs?: number;
}): Promise<LocalAws> {
  const clock = o.clock ?? systemClock;
  const random = o.random ?? systemRandom;
  const accountId = o.accountId ?? "123456789012";
  const admin = {
    accessKeyId: randomName("AKIA", random),
    secretAccessKey: Buffer.from(random(30)).toString("base64"),
  };
  const iam = createRegistry(accountId);
  const credentials = createSessionCredentials({ key: o.key ?? random(32), clock, random });
  const buckets = createBuckets(clock);
  const scripted: AwsError[] = [];
  const d = {
    iam,
    admin,
    credentials,
    buckets,
    clock,
    random,
    scripted,
    idpTimeoutMs: o.idpTimeoutMs ?? IDP_TIMEOUT_MS,
  };

  const server = createServer((incoming, outgoing) => {
    const requestId = randomId(random);
    answer(incoming)
      .catch((error: unknown) => errorAnswer(error, incoming, requestId, o.log))
      .then((result) =>
        send(outgoing, incoming.method, { ...result, headers: { ...result.headers, ...common(requestId) } }),
      )
      .catch((error: unknown) => outgoing.destroy(error instanceof Error ? error : undefined));
  });

  const common = (requestId: string): Record<string, string> => ({
    // The SDKs set their clocks by this.
    date: new Date(clock()).toUTCString(),
    server: "agentkeys-local-aws (a stand-in, not AWS)",
    "x-amzn-requestid": requestId,
    "x-amz-request-id": requestId,
  });

  async function answer(incoming: IncomingMessage): Promise<HttpAnswer> {
    const { method = "GET", url: target = "/", headers } = incoming;
    const request: WireRequest = { method, target, headers, body: await bodyOf(incoming) };
    if (!isQueryCall(incoming)) return callS3(request, await authenticate(request, { ...d, service: "s3" }), d);
    return callQueryService(request, d);
  }

  const listen = o.listen ?? { host: "127.0.0.1", port: 0 };
  await listenAt(server, listen);
  const { port } = server.address() as AddressInfo;
  const url = `http://${listen.host}:${port}`;
  o.log?.warn({ msg: `this is ${STAND_IN_NOTICE}`, url });
  return {
    url,
    accountId,
    admin,
    failNext: (error) => void scripted.push(error),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The services with a query protocol get forms posted to `/`; all else is S3. */
function isQueryCall({ method, url, headers }: IncomingMessage): boolean {
  return (
    method === "POST" && url === "/" && (headers["content-type"] ?? "").startsWith("application/x-www-form-urlencoded")
  );
}

async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES)
      throw new AwsError("EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function errorAnswer(error: unknown, incoming: IncomingMessage, requestId: string, log?: Logger): HttpAnswer {
  if (!(error instanceof AwsError)) log?.error({ msg: "fault of the stand-in", error });
  const { code, status, message } =
    error instanceof AwsError ? error : new AwsError("InternalFailure", 500, "The stand-in has a fault.");
  const body = isQueryCall(incoming)
    ? queryErrorDocument({ code, status, message }, requestId)
    : xmlDocument("Error", { Code: code, Message: message, RequestId: requestId });
  return { status, headers: { "content-type": "application/xml" }, body };
}

function send(outgoing: ServerResponse, method: string | undefined, { status, headers, body }: HttpAnswer): void {
  const bytes = Buffer.from(body ?? "");
  outgoing.writeHead(status, { ...headers, ...(status === 204 ? {} : { "content-length": bytes.length }) });
  outgoing.end(method === "HEAD" || status === 204 ? undefined : bytes);
}
