import { BUTTONS, type Confirmer, type Visit } from "./confirmer.ts";

/**
 * Does what a browser without JavaScript does with our pages, for machines that have none: gets the page behind the link, types the
 * token into its form, and presses a button, with the headers that browsers send.
 */
export function plainBrowser(): Confirmer {
  return {
    name: "plain HTTP (no Chromium found)",
    confirm: (link) => visit(link, BUTTONS.confirm),
    refuse: (link) => visit(link, BUTTONS.refuse),
    close: () => Promise.resolve(),
  };
}

async function visit(link: string, buttonName: string): Promise<Visit> {
  const url = new URL(link);
  const token = decodeURIComponent(url.hash.slice(1));
  url.hash = "";
  const first = await get(url);
  const entry = formsIn(first).find((form) => form.textField !== undefined);
  if (entry?.textField === undefined) throw new Error(`${url.href} shows no form for the token`);
  const review = await submit(url, entry, { [entry.textField]: token });
  const form = formsIn(review).find(({ buttons }) => buttons.some((each) => each.startsWith(buttonName)));
  if (form === undefined) throw new Error(`The page shows no button "${buttonName.trim()}": ${textOf(review)}`);
  return { review: textOf(review), outcome: textOf(await submit(url, form)) };
}

interface Form {
  action: string;
  hidden: Record<string, string>;
  /** The name of the field that a person types into. */
  textField: string | undefined;
  buttons: string[];
}

async function get(url: URL): Promise<string> {
  return pageOf(await fetch(url, { headers: { accept: "text/html", "sec-fetch-site": "none" } }));
}

async function submit(page: URL, form: Form, typed: Record<string, string> = {}): Promise<string> {
  const response = await fetch(new URL(form.action, page), {
    method: "POST",
    body: new URLSearchParams({ ...form.hidden, ...typed }),
    headers: {
      accept: "text/html",
      origin: page.origin,
      "sec-fetch-site": "same-origin",
      "sec-fetch-mode": "navigate",
    },
  });
  return pageOf(response);
}

async function pageOf(response: Response): Promise<string> {
  const page = await response.text();
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}: ${textOf(page)}`);
  return page;
}

function formsIn(page: string): Form[] {
  return [...page.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gs)].map(([, tag = "", inner = ""]) => {
    const inputs = [...inner.matchAll(/<(?:input|textarea)\b([^>]*)>/g)].map(([, attributes = ""]) => ({
      type: attribute(attributes, "type") ?? "text",
      name: attribute(attributes, "name") ?? "",
      value: attribute(attributes, "value") ?? "",
    }));
    const hidden = inputs.filter(({ type }) => type === "hidden");
    return {
      action: attribute(tag, "action") ?? "",
      hidden: Object.fromEntries(hidden.map(({ name, value }) => [name, value])),
      textField: inputs.find(({ type, name }) => (type === "text" || type === "password") && name !== "")?.name,
      buttons: [...inner.matchAll(/<button\b[^>]*>(.*?)<\/button>/gs)].map(([, label = ""]) => textOf(label)),
    };
  });
}

function attribute(attributes: string, name: string): string | undefined {
  const value = new RegExp(`\\b${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s>"']+))`).exec(attributes);
  return value === null ? undefined : unescaped(value[1] ?? value[2] ?? value[3] ?? "");
}

function textOf(page: string): string {
  const body = page.replace(/<(head|script|style)\b.*?<\/\1>/gs, " ");
  return unescaped(body.replace(/<[^>]*>/g, " "))
    .replace(/\s+/g, " ")
    .trim();
}

function unescaped(text: string): string {
  const named: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: " " };
  return text.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (entity, decimal?: string, hex?: string, name?: string) =>
    decimal !== undefined
      ? String.fromCodePoint(Number(decimal))
      : hex !== undefined
        ? String.fromCodePoint(parseInt(hex, 16))
        : (named[name ?? ""] ?? entity),
  );
}
