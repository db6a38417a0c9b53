/** Put in by the build. */
declare const AGENTKEYS_VERSION: string | undefined;

/** The program's version; `source` when it was not built. */
export function version(): string {
  return typeof AGENTKEYS_VERSION === "string" ? AGENTKEYS_VERSION : "source";
}
