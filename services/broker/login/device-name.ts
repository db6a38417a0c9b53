/** What a machine calls itself: one line of visible text, or empty where it gave no name. */
export type DeviceName = string & { readonly __brand: "DeviceName" };

/**
 * Reads a machine's name as its program sends it. What cannot be seen (control characters, marks that turn the direction of
 * writing, line separators) becomes a space: a name must not be able to look like another one, or like our own words.
 */
export function parseDeviceName(text: string): DeviceName {
  return text
    .normalize("NFC")
    .replace(/[\p{C}\p{Z}]+/gu, " ")
    .trim() as DeviceName;
}
