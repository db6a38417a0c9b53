import { invalid } from "./policy-fields.ts";

/**
 * The value of a policy's text. A member given twice is refused: a person who reviews it may go by the first, and JSON.parse goes by the
 * last. @throws PolicyRefused POLICY_INVALID
 */
export function parsePolicyJson(text: string): unknown {
  const value = parse(text);
  refuseTwice(text);
  return value;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid("", "it is no JSON");
  }
}

/** An object or list that was begun and not ended. */
interface Open {
  path: string;
  /** Of an object, the names so far; the last of them is whose value comes. */
  names: Set<string> | undefined;
  current: string | number;
}

/** Texts as a whole, and what JSON is built with; numbers and words between them do not matter here. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g;

/** `text` is known to be JSON. */
function refuseTwice(text: string): void {
  const open: Open[] = [];
  let latest = "";
  for (const [token] of text.matchAll(TOKEN)) {
    const inside = open.at(-1);
    switch (token) {
      case "{":
      case "[": {
        const path = inside === undefined ? "" : pathIn(inside);
        open.push({ path, names: token === "{" ? new Set() : undefined, current: 0 });
        break;
      }
      case "}":
      case "]":
        open.pop();
        break;
      case ",":
        if (typeof inside?.current === "number") inside.current++;
        break;
      case ":":
        if (inside?.names !== undefined) {
          inside.current = JSON.parse(latest) as string;
          if (inside.names.has(inside.current)) throw invalid(pathIn(inside), "is there twice");
          inside.names.add(inside.current);
        }
        break;
      default:
        latest = token;
    }
  }
}

function pathIn({ path, current }: Open): string {
  if (typeof current === "number") return `${path}[${current}]`;
  return path === "" ? current : `${path}.${current}`;
}
