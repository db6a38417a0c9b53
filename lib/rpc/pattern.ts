/**
 * Matches a `buf.validate` pattern with the platform's RegExp. protovalidate's own RE2 engine is written in JavaScript: it takes
 * a quarter of a second for 1 MiB of text, which anyone may send, and makes the first call wait while it compiles. RE2
 * guarantees linear time; here the patterns are those of our own protos, none of which can match a text in two ways, and a
 * test holds each against long texts.
 */
export function matchesPattern(pattern: string, text: string): boolean {
  let compiled = cache.get(pattern);
  if (compiled === undefined) {
    compiled = new RegExp(withRe2Meaning(pattern), "u");
    cache.set(pattern, compiled);
  }
  return compiled.test(text);
}

/** As many entries as our protos have patterns. */
const cache = new Map<string, RegExp>();

/**
 * What RE2 understands otherwise: `\s` is ASCII white space without `\v`, and `.` excludes the line feed only. Syntax that
 * only RE2 has throws a SyntaxError when it is compiled.
 */
function withRe2Meaning(pattern: string): string {
  let inClass = false;
  return pattern.replace(/\\[^]|[[\].]/g, (part) => {
    if (part === "[") inClass = true;
    if (part === "]") inClass = false;
    if (part === "\\s") return inClass ? "\\t\\n\\f\\r " : "[\\t\\n\\f\\r ]";
    if (part === "\\S") throw new SyntaxError("a pattern with \\S is not supported: write [^\\s]");
    return part === "." && !inClass ? "[^\\n]" : part;
  });
}
