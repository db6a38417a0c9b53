/** What an identity is called for people: one line of visible text, at most 64 characters, or empty. */
export type DisplayName = string & { readonly __brand: "DisplayName" };

const MAX_LENGTH = 64;

/**
 * Reads the name that a provider gives for somebody, which is theirs to choose. What cannot be seen, or turns the direction of writing,
 * becomes a space, as in a machine's name. It identifies nobody: it stands beside the identity's value, never in its place.
 */
export function parseDisplayName(text: unknown): DisplayName {
  if (typeof text !== "string") return "" as DisplayName;
  // Cut first: a provider may send much, and normalising it takes time.
  const line = text
    .slice(0, 10 * MAX_LENGTH)
    .normalize("NFC")
    .replace(/[\p{C}\p{Z}]+/gu, " ")
    .trim();
  return Array.from(line).slice(0, MAX_LENGTH).join("").trim() as DisplayName;
}
