/** Text from elsewhere without what could move a terminal's cursor, turn the direction of writing or hide something. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what this is about
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+/g, " ").slice(0, 500);
}
