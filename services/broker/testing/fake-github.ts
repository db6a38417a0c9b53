import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

/** What the API says of whoever a token is for. */
export interface GithubUser {
  id: number;
  login: string;
  name: string | null;
}

/**
 * This is no GitHub, which cannot run here: a stand-in that answers as GitHub's documentation of OAuth apps says, on the paths of a GitHub
 * Enterprise Server. What passes with it has not been tried with GitHub. It has no pages: whoever comes is `user` and agrees at once,
 * unless `refuses`. It is stricter than GitHub, where PKCE is optional and a path below the redirect URI will do.
 */
export interface FakeGithub {
  baseUrl: string;
  clientId: string;
  clientSecret: string;
  /** Who comes next. */
  user: GithubUser;
  /** Whoever comes next says no. */
  refuses: boolean;
  /** While it is true, every request is answered 503. */
  outage: boolean;
  allowRedirect(uri: string): void;
  close(): Promise<void>;
}

interface Answer {
  status: number;
  json: object;
  /** Written as a form is, instead of as JSON. */
  isForm?: boolean;
  location?: string;
}

const NOT_FOUND: Answer = { status: 404, json: { message: "Not Found" } };

interface Issued {
  user: GithubUser;
  challenge: string;
  redirectUri: string;
}

/** Starts the stand-in on a free loopback port. */
export async function startFakeGithub({ redirectUris = [] }: { redirectUris?: string[] } = {}): Promise<FakeGithub> {
  const redirects = [...redirectUris];
  const codes = new Map<string, Issued>();
  const tokens = new Map<string, GithubUser>();

  const authorize = (query: URLSearchParams): Answer => {
    const redirectUri = query.get("redirect_uri") ?? "";
    if (query.get("client_id") !== github.clientId) return NOT_FOUND;
    // Nobody is sent to an address that is not known.
    if (!redirects.includes(redirectUri)) return { status: 400, json: { error: "redirect_uri_mismatch" } };
    const challenge = query.get("code_challenge") ?? "";
    if (challenge === "" || query.get("code_challenge_method") !== "S256")
      return { status: 400, json: { error: "invalid_request" } };
    const back = new URL(redirectUri);
    if (github.refuses) {
      back.searchParams.set("error", "access_denied");
    } else {
      const code = randomBytes(10).toString("hex");
      codes.set(code, { user: { ...github.user }, challenge, redirectUri });
      back.searchParams.set("code", code);
    }
    const state = query.get("state");
    if (state !== null) back.searchParams.set("state", state);
    return { status: 302, json: {}, location: back.href };
  };

  const redeem = (form: URLSearchParams): Record<string, string> => {
    if (form.get("client_id") !== github.clientId || form.get("client_secret") !== github.clientSecret)
      return { error: "incorrect_client_credentials" };
    const code = form.get("code") ?? "";
    const issued = codes.get(code);
    // Whatever else is wrong, a code is good for one try.
    codes.delete(code);
    if (issued === undefined) return { error: "bad_verification_code" };
    const verifier = form.get("code_verifier") ?? "";
    if (createHash("sha256").update(verifier).digest("base64url") !== issued.challenge)
      return { error: "bad_verification_code" };
    if (form.get("redirect_uri") !== issued.redirectUri) return { error: "redirect_uri_mismatch" };
    const token = `gho_${randomBytes(18).toString("hex")}`;
    tokens.set(token, issued.user);
    return { access_token: token, token_type: "bearer", scope: "" };
  };

  const answer = async (req: IncomingMessage): Promise<Answer> => {
    const url = new URL(req.url ?? "/", github.baseUrl);
    if (github.outage) return { status: 503, json: { message: "Service Unavailable" } };
    switch (`${req.method ?? ""} ${url.pathname}`) {
      case "GET /login/oauth/authorize":
        return authorize(url.searchParams);
      case "POST /login/oauth/access_token": {
        const form = Buffer.concat((await req.toArray()) as Buffer[]).toString();
        // GitHub says what is wrong with status 200, and speaks JSON only to those who ask for it.
        const isForm = req.headers.accept?.includes("application/json") !== true;
        return { status: 200, json: redeem(new URLSearchParams(form)), isForm };
      }
      case "GET /api/v3/user": {
        const user = tokens.get(/^Bearer (\S+)$/i.exec(req.headers.authorization ?? "")?.[1] ?? "");
        return user === undefined ? { status: 401, json: { message: "Bad credentials" } } : { status: 200, json: user };
      }
      case "GET /api/v3/meta":
        return { status: 200, json: { installed_version: "0.0.0" } };
      default:
        return NOT_FOUND;
    }
  };

  const server = createServer((req, res) => {
    void answer(req).then(({ status, json, isForm = false, location }) => {
      res.setHeader("content-type", isForm ? "application/x-www-form-urlencoded" : "application/json");
      if (location !== undefined) res.setHeader("location", location);
      const form = (): string => new URLSearchParams(json as Record<string, string>).toString();
      res.writeHead(status).end(isForm ? form() : JSON.stringify(json));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const github: FakeGithub = {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    clientId: "broker-at-github",
    clientSecret: "a-github-secret-that-only-tests-know",
    user: { id: 583231, login: "octocat", name: "The Octocat" },
    refuses: false,
    outage: false,
    allowRedirect: (uri) => void redirects.push(uri),
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  return github;
}
