/** Values of condition keys in a request, by lower-cased name; a key that the request lacks is absent. */
export type RequestContext = ReadonlyMap<string, readonly string[]>;

/**
 * Whether `value` fits a pattern of a policy: `*` stands for any text, `?` for one character, `${key}` for the request's value
 * of that key, and `${*}`, `${?}`, `${$}` for the characters themselves. Wildcards in a variable's *value* are ordinary
 * characters: a tag `*` opens nothing. `undefined` when a variable has no single value in this request; the statement then
 * does not apply.
 */
export function fitsPattern(pattern: string, value: string, context: RequestContext): boolean | undefined {
  const source = resolve(pattern, context, { literal: escapeRegExp, star: ".*", question: "." });
  return source === undefined ? undefined : new RegExp(`^${source}$`, "su").test(value);
}

/** The text of a policy value with its variables filled in and no wildcards. `undefined` as in `fitsPattern`. */
export function fillVariables(text: string, context: RequestContext): string | undefined {
  return resolve(text, context, { literal: (part) => part, star: "*", question: "?" });
}

/** The names in `${…}`, to be checked when a policy is attached. */
export function variablesIn(text: string): string[] {
  return [...text.matchAll(/\$\{([^}]*)\}/g)].map((match) => match[1] ?? "").filter((name) => !/^[*?$]$/.test(name));
}

interface Rendering {
  literal: (text: string) => string;
  star: string;
  question: string;
}

function resolve(text: string, context: RequestContext, to: Rendering): string | undefined {
  let out = "";
  for (const part of text.split(/(\$\{[^}]*\}|[*?])/)) {
    if (part === "*") out += to.star;
    else if (part === "?") out += to.question;
    else if (!part.startsWith("${")) out += to.literal(part);
    else {
      const name = part.slice(2, -1);
      if (/^[*?$]$/.test(name)) {
        out += to.literal(name);
        continue;
      }
      const values = context.get(name.toLowerCase()) ?? [];
      if (values.length !== 1 || values[0] === undefined) return undefined;
      out += to.literal(values[0]);
    }
  }
  return out;
}

function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
