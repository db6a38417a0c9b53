import type { IncomingMessage, ServerResponse } from "node:http";

import type Provider from "oidc-provider";

/**
 * The pages of the test provider: a name to log in with, then Continue or Cancel. They load nothing, from anywhere. Returns false for what
 * is none of them.
 */
export function answerInteraction(provider: Provider, req: IncomingMessage, res: ServerResponse): boolean {
  const [, uid, action] = /^\/interaction\/([\w-]+)(?:\/(login|consent|abort))?$/.exec(req.url ?? "") ?? [];
  if (uid === undefined) return false;
  const answered = action === undefined ? show(provider, uid, req, res) : finish(provider, action, req, res);
  answered.catch((error: unknown) => {
    // Such as a page that was left open after its visit had ended.
    res.writeHead(400, { "content-type": "text/plain" }).end(String(error));
  });
  return true;
}

async function show(provider: Provider, uid: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { prompt } = await provider.interactionDetails(req, res);
  const isLogin = prompt.name === "login";
  const field = isLogin
    ? '<label>Login <input name="login" required autofocus></label>'
    : "<p>Go on as this person?</p>";
  const page = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"><title>Test provider</title>
<form method="post" action="/interaction/${uid}/${isLogin ? "login" : "consent"}">
<input type="hidden" name="prompt" value="${prompt.name}">${field}
<button type="submit">${isLogin ? "Log in" : "Continue"}</button></form>
<form method="post" action="/interaction/${uid}/abort"><button>Cancel</button></form></html>`;
  res.writeHead(200, { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" }).end(page);
}

async function finish(provider: Provider, action: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
  if (req.method !== "POST") {
    res.writeHead(405, { allow: "POST" }).end();
    return;
  }
  const form = new URLSearchParams(Buffer.concat((await req.toArray()) as Buffer[]).toString());
  if (action === "abort") {
    await provider.interactionFinished(req, res, { error: "access_denied", error_description: "the person said no" });
    return;
  }
  if (action === "login") {
    const accountId = form.get("login") ?? "";
    if (accountId === "") throw new Error("no login was typed");
    await provider.interactionFinished(req, res, { login: { accountId } });
    return;
  }
  const { params, prompt, session, grantId } = await provider.interactionDetails(req, res);
  if (session === undefined) throw new Error("nobody is logged in");
  const known = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  const grant = known ?? new provider.Grant({ accountId: session.accountId, clientId: String(params.client_id) });
  const { missingOIDCScope: scopes, missingOIDCClaims: claims } = prompt.details;
  if (Array.isArray(scopes)) grant.addOIDCScope(scopes.join(" "));
  if (Array.isArray(claims)) grant.addOIDCClaims(claims.map(String));
  const consent = { grantId: await grant.save() };
  await provider.interactionFinished(req, res, { consent }, { mergeWithLastSubmission: true });
}
