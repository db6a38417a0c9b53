import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { exportJWK, generateKeyPair, type JWK } from "jose";
import Provider, { type Configuration } from "oidc-provider";

/** A real OpenID Connect provider on a free loopback port, with one client and whoever types a name. */
export interface TestProvider {
  issuer: string;
  clientId: string;
  clientSecret: string;
  /** Where its client's people may be sent back to. */
  allowRedirect(uri: string): void;
  /** Throws its signing keys away and makes new ones. */
  rotateKeys(): Promise<void>;
  /** While it is true, every request is answered 503. */
  outage: boolean;
  /** What it puts into the answer as `iss` (RFC 9207) instead of its own name. */
  answersAs?: string;
  /** Asked for this path, it answers with that instead. */
  readonly lies: Map<string, unknown>;
  close(): Promise<void>;
}

const CLIENT = { clientId: "broker", clientSecret: "a-secret-that-only-tests-know" };
const LIFE = 3600;

export async function startTestProvider(): Promise<TestProvider> {
  let handle: (req: IncomingMessage, res: ServerResponse) => void = () => undefined;
  const server = createServer((req, res) => {
    if (test.outage) {
      res.writeHead(503).end();
      return;
    }
    const lie = test.lies.get(req.url ?? "");
    if (lie !== undefined) {
      res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(lie));
      return;
    }
    const { answersAs } = test;
    if (answersAs !== undefined) lieAboutIssuer(res, issuer, answersAs);
    handle(req, res);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const redirects: string[] = [];
  const cookieKeys = ["test"];
  let key: JWK;
  let keysMade = 0;
  /** Made anew, since its keys and clients are fixed; whoever was on the way there has to begin again. */
  const renew = (): void => {
    const provider = new Provider(issuer, configuration(key, redirects, cookieKeys));
    provider.on("server_error", (_context, error) => process.stderr.write(`test provider: ${error.message}\n`));
    const callback = provider.callback();
    handle = (req, res) => void callback(req, res);
  };
  const makeKeys = async (): Promise<void> => {
    const { privateKey } = await generateKeyPair("ES256", { extractable: true });
    keysMade += 1;
    key = { ...(await exportJWK(privateKey)), alg: "ES256", use: "sig", kid: `key-${keysMade}` };
    renew();
  };
  const test: TestProvider = {
    issuer,
    ...CLIENT,
    outage: false,
    lies: new Map(),
    allowRedirect: (uri) => {
      redirects.push(uri);
      renew();
    },
    rotateKeys: makeKeys,
    close: () => stop(server),
  };
  await makeKeys();
  return test;
}

function configuration(key: JWK, redirects: string[], cookieKeys: string[]): Configuration {
  return {
    clients: [
      {
        client_id: CLIENT.clientId,
        client_secret: CLIENT.clientSecret,
        redirect_uris: redirects.length === 0 ? ["http://127.0.0.1/none"] : redirects,
        grant_types: ["authorization_code"],
        response_types: ["code"],
        id_token_signed_response_alg: "ES256",
        application_type: "native",
      },
    ],
    jwks: { keys: [key] },
    cookies: { keys: cookieKeys },
    features: { devInteractions: { enabled: true } },
    pkce: { required: () => true },
    ttl: { AccessToken: LIFE, IdToken: LIFE, Session: LIFE, Grant: LIFE, Interaction: LIFE },
    findAccount: (_context, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  };
}

/** Changes the `iss` of the answer on its way to the browser. */
function lieAboutIssuer(res: ServerResponse, issuer: string, other: string): void {
  const setHeader = res.setHeader.bind(res);
  res.setHeader = (name, value) => {
    const text = typeof value === "string" ? value : undefined;
    const changed = text?.replace(`iss=${encodeURIComponent(issuer)}`, `iss=${encodeURIComponent(other)}`);
    return setHeader(name, name.toLowerCase() === "location" && changed !== undefined ? changed : value);
  };
}

function stop(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}
