/** What stands in an element: text, or elements by name. A list repeats its element; `undefined` leaves it out. */
export type XmlContent =
  string | number | boolean | { readonly [element: string]: XmlContent | readonly XmlContent[] | undefined };

/** Writes an XML document. */
export function xmlDocument(root: string, content: XmlContent, namespace?: string): string {
  const attribute = namespace === undefined ? "" : ` xmlns="${escaped(namespace)}"`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root}${attribute}>${inner(content)}</${root}>\n`;
}

function inner(content: XmlContent): string {
  if (typeof content !== "object") return escaped(String(content));
  return Object.entries(content)
    .flatMap(([name, value]) => listed(value).map((one) => `<${name}>${inner(one)}</${name}>`))
    .join("");
}

function listed(value: XmlContent | readonly XmlContent[] | undefined): readonly XmlContent[] {
  if (value === undefined) return [];
  return isList(value) ? value : [value];
}

/** `Array.isArray` does not narrow a readonly array. */
function isList(value: XmlContent | readonly XmlContent[]): value is readonly XmlContent[] {
  return Array.isArray(value);
}

/** Characters that XML cannot hold at all become U+FFFD, so that a strange key cannot break the document. */
function escaped(text: string): string {
  return text
    .replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, "\uFFFD")
    .replace(/[&<>"'\r]/g, (c) => `&#${c.charCodeAt(0)};`);
}
