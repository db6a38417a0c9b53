const id = "[A-Za-z0-9_-]{22}";
const ours = new RegExp(
  `^/account(/(link|unfreeze|end-others|end/${id}|unlink/[0-9a-f]{64}|retire/0x[0-9a-f]{40}|waiting/${id}|merge/${id}))?$`,
);

/** Where a person was about to go, if that is a page of the account's: nothing that a stranger put into a link leads anywhere else. */
export function returnPath(given: string | null | undefined): string {
  return given !== undefined && given !== null && ours.test(given) ? given : "/account";
}
