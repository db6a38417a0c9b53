import { html } from "hono/html";

import { MINUTE } from "@agentkeys/lib/clock";
import type { Secret } from "@agentkeys/lib/secret";

import type { Mail } from "./mailer.ts";

/** What the mail says about the sign-in. */
export interface SignInFacts {
  email: string;
  userCode: string;
  /** Chosen by whoever started the sign-in; empty: unknown. */
  deviceName: string;
  sourceAddress: string;
  createdAt: number;
  expiresAt: number;
}

/** The mail that carries a sign-in link: the same in plain text and in HTML. */
export async function signInMail(facts: SignInFacts, link: Secret): Promise<Mail> {
  const minutes = Math.round((facts.expiresAt - facts.createdAt) / MINUTE);
  const device = facts.deviceName === "" ? "a machine without a name" : unlinkable(facts.deviceName);
  const when = new Date(facts.createdAt).toUTCString();
  return {
    to: facts.email,
    subject: `Sign in to AgentKeys: ${facts.userCode}`,
    text: `Somebody is signing in to AgentKeys with this address.

  Code      ${facts.userCode}
  Machine   ${device}
  From      ${facts.sourceAddress}
  When      ${when}

If that is you, and your terminal shows the same code, open this link within ${minutes} minutes and press the button there:

  ${link.reveal()}

If it is not you, do nothing, or open the link and say so. Nobody gets in without the press of that button.
`,
    html: (await body(facts, device, when, minutes, link)).toString(),
  };
}

/**
 * A name without what mail programs make links of: whoever types a stranger's address chooses this text, and must not get us to
 * send that stranger a link of theirs.
 */
function unlinkable(name: string): string {
  return name.replace(/[^\p{L}\p{M}\p{N} _'’()+,&-]+/gu, "-");
}

/** Tables and inline styles: what mail programs understand. Everything put in is escaped by the template. */
function body(facts: SignInFacts, device: string, when: string, minutes: number, link: Secret): Markup {
  const font = "system-ui,-apple-system,'Segoe UI',sans-serif";
  const outer = `margin:0;padding:24px 12px;background:#f4f5f2;color:#1c211d;font:16px/1.5 ${font}`;
  const card = "max-width:520px;background:#ffffff;color:#1c211d;border:1px solid #d9ded8;border-radius:14px";
  const code =
    "margin:0 0 20px;padding:14px 8px;background:#eef2ec;border-radius:10px;text-align:center;white-space:nowrap;" +
    "font:700 30px/1.2 ui-monospace,'DejaVu Sans Mono',monospace;letter-spacing:2px";
  const button =
    "display:inline-block;padding:12px 22px;background:#1f6b47;color:#ffffff;border-radius:9px;text-decoration:none;font-weight:600";
  const label = "padding:2px 20px 2px 0;color:#4c574f;vertical-align:top";
  const row = (name: string, value: string): Markup =>
    html`<tr><td style="${label}">${name}</td><td>${value}</td></tr>`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light">
<title>Sign in to AgentKeys</title>
</head>
<body style="${outer}">
<table role="presentation" width="100%" cellspacing="0" cellpadding="0"><tr><td align="center">
<table role="presentation" width="100%" cellspacing="0" cellpadding="0" style="${card}"><tr><td style="padding:28px">
<p style="margin:0 0 20px;font-weight:700">AgentKeys</p>
<p style="margin:0 0 16px">Somebody is signing in with this address. If that is you, your terminal shows this code:</p>
<p style="${code}">${facts.userCode}</p>
<table role="presentation" cellspacing="0" cellpadding="0" style="margin:0 0 24px">
${row("Machine", device)}${row("From", facts.sourceAddress)}${row("When", when)}
</table>
<p style="margin:0 0 24px"><a href="${link.reveal()}" style="${button}">Look at the sign-in</a></p>
<p style="margin:0;color:#4c574f;font-size:14px">The link works for ${minutes} minutes. Opening it changes nothing: only the press of a button on the page signs in. If it is not you, do nothing, or open the link and say so.</p>
</td></tr></table>
</td></tr></table>
</body>
</html>
`;
}

type Markup = ReturnType<typeof html>;
