import { html, raw } from "hono/html";

import { dark, light, type Palette } from "@agentkeys/lib/look/palette";
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

/**
 * Tables and inline styles: what mail programs understand. Those that show mails in the dark and know style sheets (most that do) get
 * our dark colours instead of ones of their own making. Everything put in is escaped by the template.
 */
export async function mailBody({ title, lead, code, rows, button, foot }: MailBody): Promise<string> {
  const font = "system-ui,-apple-system,'Segoe UI',sans-serif";
  const outer = `margin:0;padding:24px 12px;background:${light.paper};color:${light.ink};font:16px/1.5 ${font}`;
  const card = `max-width:520px;background:${light.card};color:${light.ink};border:1px solid ${light.line};border-radius:16px`;
  const codeStyle =
    `margin:0 0 20px;padding:14px 8px;background:${light.code};border-radius:12px;text-align:center;white-space:nowrap;` +
    "font:700 30px/1.2 ui-monospace,'DejaVu Sans Mono',monospace;letter-spacing:2px";
  const buttonStyle = `display:inline-block;padding:13px 22px;background:${light.go};color:${light["go-ink"]};border-radius:10px;text-decoration:none;font-weight:600`;
  const label = `padding:2px 20px 2px 0;color:${light.soft};vertical-align:top;white-space:nowrap`;
  const value = "padding:2px 0;overflow-wrap:anywhere;word-break:break-word";
  const row = (name: string, text: string): Markup =>
    html`<tr><td class="soft" style="${label}">${name}</td><td style="${value}">${text}</td></tr>`;
  const markup = await html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>${title}</title>
<style>${raw(inTheDark(dark))}</style>
</head>
<body class="paper" style="${outer}">
<div role="main">
<table role="presentation" width="100%" cellspacing="0" cellpadding="0"><tr><td align="center">
<table class="card" role="presentation" width="100%" cellspacing="0" cellpadding="0" style="${card}"><tr><td style="padding:28px">
<p class="go-text" style="margin:0 0 20px;font-weight:700;color:${light.go}">AgentKeys</p>
<h1 style="margin:0 0 12px;font-size:21px;line-height:1.3">${title}</h1>
<p style="margin:0 0 16px">${lead}</p>
${code === undefined ? "" : html`<p class="code" style="${codeStyle}">${code}</p>`}
<table role="presentation" cellspacing="0" cellpadding="0" style="margin:0 0 24px">
${rows.map(([name, text]) => row(name, text))}
</table>
<p style="margin:0 0 24px"><a class="button" href="${button.link.reveal()}" style="${buttonStyle}">${button.text}</a></p>
<p class="soft" style="margin:0;color:${light.soft};font-size:14px">${foot}</p>
</td></tr></table>
</td></tr></table>
</div>
</body>
</html>
`;
  return markup.toString();
}

/** `!important`, since it speaks against inline styles. It names no address: a mail loads nothing. */
function inTheDark(colours: Palette): string {
  const rules = {
    ".paper": `background: ${colours.paper} !important; color: ${colours.ink} !important`,
    ".card": `background: ${colours.card} !important; color: ${colours.ink} !important; border-color: ${colours.line} !important`,
    ".code": `background: ${colours.code} !important`,
    ".soft": `color: ${colours.soft} !important`,
    ".go-text": `color: ${colours.go} !important`,
    ".button": `background: ${colours.go} !important; color: ${colours["go-ink"]} !important`,
  };
  const text = Object.entries(rules).map(([selector, declarations]) => `${selector} { ${declarations} }`);
  return `:root { color-scheme: light dark } @media (prefers-color-scheme: dark) { ${text.join(" ")} }`;
}

type Markup = ReturnType<typeof html>;
