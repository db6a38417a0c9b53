import { isLoopback } from "@agentkeys/lib/settings/kinds";

/**
 * Whether a request names this machine as its host. A page elsewhere that had its own name resolved to loopback (DNS rebinding) would
 * otherwise read the development mailbox and press the buttons itself.
 */
export function namesThisMachine(url: string): boolean {
  return isLoopback(new URL(url).hostname);
}

/**
 * Whether a form was sent by a page of ours. Browsers say so in Sec-Fetch-Site (which no page can forge), older ones in Origin; a
 * program that sends neither has nothing to ride on: it holds the secret in the form by itself. Where a cookie would ride along,
 * `needsSign` demands one of the two.
 */
export function fromOwnPage(headers: Headers, publicUrl: string, { needsSign = false } = {}): boolean {
  const site = headers.get("sec-fetch-site");
  if (site !== null) return site === "same-origin" || (site === "none" && !needsSign);
  const origin = headers.get("origin");
  if (origin === null) return !needsSign;
  const own = new URL(publicUrl);
  if (origin === own.origin || !URL.canParse(origin)) return origin === own.origin;
  const other = new URL(origin);
  // Loopback has several names; what listens on another port is somebody else.
  return isLoopback(own.hostname) && isLoopback(other.hostname) && other.port === own.port;
}
