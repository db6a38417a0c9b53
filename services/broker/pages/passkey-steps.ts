import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { askPasskey, LinkUsed, proveByPasskey, provenHere } from "../login/index.ts";
import { browserSecret, ensureBrowserSecret } from "./cookies.ts";
import type { PageEnv } from "./forms.ts";
import { explained, explaining, type LoginStepParts, noLink, wasStartedHere } from "./login-steps.ts";
import { provenPage } from "./passkey-pages.ts";
import { fromOwnPage } from "./same-origin.ts";

/** What the page's script asks for before it asks the passkey. */
export function passkeyOptions(parts: LoginStepParts, c: Context<PageEnv>): Promise<Response> {
  return answerJson(parts, c, async (fields) => {
    const secret = ensureBrowserSecret(c, parts.login.random);
    return askPasskey(parts.login, { linkToken: linkTokenIn(fields), browserSecret: secret, caller: c.env.info });
  });
}

/** What the passkey said; where the script goes on to. */
export function passkeyFinish(parts: LoginStepParts, c: Context<PageEnv>): Promise<Response> {
  return answerJson(parts, c, async (fields) => {
    const visit = { linkToken: linkTokenIn(fields), browserSecret: browserSecret(c) ?? "", caller: c.env.info };
    const { loginId } = await proveByPasskey(parts.login, { ...visit, answer: fields["answer"] });
    return { next: `/login/proven/${loginId}` };
  });
}

/** The end of it, at an address that says nothing and that only this browser is shown. */
export function showProven({ login: parts }: LoginStepParts, c: Context<PageEnv>): Promise<Response> {
  return explaining(c, async () => {
    const visit = { loginId: c.req.param("login") ?? "", browserSecret: browserSecret(c) ?? "", caller: c.env.info };
    const login = await provenHere(parts, visit);
    if (login.method !== "passkey") throw noLink();
    return c.html(provenPage(login, wasStartedHere(login, c)));
  });
}

/** Reads the JSON that a script of ours sent, and answers in JSON; a refusal is `{"message"}`, for people. */
export async function answerJson(
  { publicUrl }: Pick<LoginStepParts, "publicUrl">,
  c: Context<PageEnv>,
  answer: (fields: Record<string, unknown>) => Promise<object>,
  { needsSign = false } = {},
): Promise<Response> {
  const refuse = (message: string, status: ContentfulStatusCode): Response => c.json({ message }, status);
  if (!fromOwnPage(c.req.raw.headers, publicUrl(), { needsSign }))
    return refuse("This was sent by a page that is not ours.", 403);
  if (c.req.header("content-type") !== "application/json") return refuse("This address takes JSON.", 415);
  const fields: unknown = await c.req.json().catch(() => undefined);
  if (typeof fields !== "object" || fields === null) return refuse("That is not what our page sends.", 400);
  try {
    return c.json(await answer(fields as Record<string, unknown>));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const { status, problem } = explained(error);
    const retryAfter = error.details.retryAfterMs;
    if (retryAfter !== undefined) c.header("retry-after", String(Math.ceil(retryAfter / 1000)));
    return refuse(error instanceof LinkUsed ? `${problem.title}.` : problem.explanation, status);
  }
}

function linkTokenIn({ token }: Record<string, unknown>): string {
  if (typeof token === "string" && /^[A-Za-z0-9_-]{43}$/.test(token)) return token;
  throw new Failure(ErrorReason.LOGIN_NOT_FOUND, "that is not a link of ours");
}
