import type { RequestInfo } from "@agentkeys/lib/rpc";

export type PageEnv = { Bindings: { info: RequestInfo } };

/** Whether a body is what the form of a page sends. */
export function isForm(contentType: string | undefined): boolean {
  return contentType?.split(";")[0]?.trim().toLowerCase() === "application/x-www-form-urlencoded";
}
