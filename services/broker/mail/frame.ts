import { html } from "hono/html";

import type { Secret } from "@agentkeys/lib/secret";

/** What a mail of ours says, in the order in which it says it. */
export interface MailBody {
  title: string;
  lead: string;
  /** To be compared with another screen. */
  code?: string;
  rows: readonly (readonly [name: string, value: string])[];
  button: { text: string; link: Secret };
  foot: string;
}

/** Tables and inline styles: what mail programs understand. Everything put in is escaped by the template. */
export async function mailBody({ title, lead, code, rows, button, foot }: MailBody): Promise<string> {
  const font = "system-ui,-apple-system,'Segoe UI',sans-serif";
  const outer = `margin:0;padding:24px 12px;background:#f4f5f2;color:#1c211d;font:16px/1.5 ${font}`;
  const card = "max-width:520px;background:#ffffff;color:#1c211d;border:1px solid #d9ded8;border-radius:14px";
  const codeStyle =
    "margin:0 0 20px;padding:14px 8px;background:#eef2ec;border-radius:10px;text-align:center;white-space:nowrap;" +
    "font:700 30px/1.2 ui-monospace,'DejaVu Sans Mono',monospace;letter-spacing:2px";
  const buttonStyle =
    "display:inline-block;padding:12px 22px;background:#1f6b47;color:#ffffff;border-radius:9px;text-decoration:none;font-weight:600";
  const label = "padding:2px 20px 2px 0;color:#4c574f;vertical-align:top";
  const row = (name: string, value: string): Markup =>
    html`<tr><td style="${label}">${name}</td><td>${value}</td></tr>`;
  const markup = await html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light">
<title>${title}</title>
</head>
<body style="${outer}">
<table role="presentation" width="100%" cellspacing="0" cellpadding="0"><tr><td align="center">
<table role="presentation" width="100%" cellspacing="0" cellpadding="0" style="${card}"><tr><td style="padding:28px">
<p style="margin:0 0 20px;font-weight:700">AgentKeys</p>
<p style="margin:0 0 16px">${lead}</p>
${code === undefined ? "" : html`<p style="${codeStyle}">${code}</p>`}
<table role="presentation" cellspacing="0" cellpadding="0" style="margin:0 0 24px">
${rows.map(([name, value]) => row(name, value))}
</table>
<p style="margin:0 0 24px"><a href="${button.link.reveal()}" style="${buttonStyle}">${button.text}</a></p>
<p style="margin:0;color:#4c574f;font-size:14px">${foot}</p>
</td></tr></table>
</td></tr></table>
</body>
</html>
`;
  return markup.toString();
}

type Markup = ReturnType<typeof html>;
