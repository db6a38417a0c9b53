import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { equalSecrets, Secret } from "@agentkeys/lib/secret";
import type { ListenAddress } from "@agentkeys/lib/settings/kinds";

import { Problem } from "../../problem.ts";
import type { AwsCredentials } from "../aws-credentials.ts";
import type { Trouble } from "../refresh.ts";
import { awsTime } from "./credential-process.ts";

/** What there is to hand out: credentials, or why there are none. */
export type Offer = { credentials: AwsCredentials } | { trouble: Trouble };

/** A running endpoint. */
export interface ContainerEndpoint {
  /** For AWS_CONTAINER_CREDENTIALS_FULL_URI. */
  url: string;
  /** Answers what was asked, takes nothing new, and ends. */
  close(): Promise<void>;
}

/** Where credentials are; nothing else of the daemon's is behind a token. */
const PATH = "/v1/credentials";

/**
 * Serves credentials to AWS's SDKs on loopback by their container credentials protocol ("Container credential provider"): GET with the
 * token, as it is, in the Authorization header. `/livez` and `/readyz` say whether it works, and nothing else.
 *
 * A web page in this machine's browser must get nothing: a foreign Host (DNS rebinding) or any Origin is refused, no CORS header is
 * ever sent, and the token is not guessable. @throws Problem LISTEN
 */
export async function serveCredentials(o: {
  listen: ListenAddress;
  token: Secret;
  offer: () => Promise<Offer>;
}): Promise<ContainerEndpoint> {
  const expected = digest(o.token.reveal());
  let hosts: ReadonlySet<string> = new Set();

  const answer = async (request: IncomingMessage): Promise<Answer> => {
    const { host = "", origin, authorization = "", "sec-fetch-site": site } = request.headers;
    if (!hosts.has(host.toLowerCase()) || origin !== undefined || (site !== undefined && site !== "none")) {
      return refusal(403, "FORBIDDEN", "Only programs on this machine are served.");
    }
    const path = request.url?.split("?")[0] ?? "";
    if (![PATH, "/livez", "/readyz"].includes(path)) return refusal(404, "NOT_FOUND", `There is only ${PATH} here.`);
    if (request.method !== "GET") return refusal(405, "METHOD_NOT_ALLOWED", "Only GET is served.", { allow: "GET" });
    if (path === "/livez") return { status: 200, body: { live: true } };
    if (path === "/readyz") return readiness(await o.offer());
    if (!equalSecrets(digest(authorization), expected)) {
      return refusal(401, "UNAUTHORIZED", "The Authorization header is not this endpoint's token.");
    }
    return credentialsOrWhyNot(await o.offer());
  };

  const server = createServer({ headersTimeout: 5000, requestTimeout: 10_000 }, (request, response) => {
    request.resume();
    answer(request)
      .catch(() => refusal(500, "INTERNAL", "Something went wrong inside agentkeys."))
      .then((result) => send(response, result))
      .catch(() => response.destroy());
  });
  server.maxConnections = 256;
  await listen(server, o.listen);
  const { port } = server.address() as AddressInfo;
  const host = o.listen.host.includes(":") ? `[${o.listen.host}]` : o.listen.host;
  hosts = new Set([`${host}:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`, `localhost:${port}`]);
  return {
    url: `http://${host}:${port}${PATH}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      }),
  };
}

interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

function credentialsOrWhyNot(offer: Offer): Answer {
  if ("trouble" in offer) return unavailable(offer.trouble);
  const { accessKeyId, secretAccessKey, sessionToken, expiresAt } = offer.credentials;
  return {
    status: 200,
    body: {
      AccessKeyId: accessKeyId,
      SecretAccessKey: secretAccessKey.reveal(),
      Token: sessionToken.reveal(),
      Expiration: awsTime(expiresAt),
    },
  };
}

function readiness(offer: Offer): Answer {
  if ("credentials" in offer) return { status: 200, body: { ready: true } };
  const { reason, text } = offer.trouble;
  return { status: 503, body: { ready: false, reason, message: text } };
}

function unavailable({ reason, text }: Trouble): Answer {
  return refusal(503, reason, text);
}

/** Errors in the form that AWS's SDKs read; some look for capital letters. */
function refusal(status: number, code: string, message: string, headers: Record<string, string> = {}): Answer {
  return { status, body: { code, message, Code: code, Message: message }, headers };
}

function send(response: ServerResponse, { status, body, headers }: Answer): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    // Asked a few times an hour at the most; and nothing keeps it from ending.
    connection: "close",
    ...headers,
  });
  response.end(text);
}

async function listen(server: ReturnType<typeof createServer>, { host, port }: ListenAddress): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  }).catch((error: unknown) => {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    const why = code === "EADDRINUSE" ? "another program listens there" : `the system says ${code}`;
    throw new Problem("LISTEN", "configuration", `Credentials cannot be served at ${host}:${port}: ${why}.`, {
      remedy: "Set AGENTKEYS_LISTEN to another loopback address; port 0 takes a free one.",
      cause: error,
    });
  });
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
