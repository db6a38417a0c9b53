/**
 * A name without what mail programs make links of: whoever types a stranger's address chooses this text, and must not get us to
 * send that stranger a link of theirs.
 */
export function unlinkable(name: string): string {
  return name.replace(/[^\p{L}\p{M}\p{N} _'’()+,&-]+/gu, "-");
}
