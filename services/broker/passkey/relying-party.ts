import { isIP } from "node:net";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";

/** Whom passkeys are for (WebAuthn Level 3 section 4): a browser uses one on pages of this origin only. */
export interface RelyingParty {
  /** The host of the public URL. */
  id: string;
  /** The public URL. */
  origin: string;
}

/** @throws Failure NOT_SERVED where the broker's address is one that no browser makes a passkey for */
export function relyingPartyAt(publicUrl: string): RelyingParty {
  if (!passkeysWorkAt(publicUrl)) {
    throw new Failure(
      ErrorReason.NOT_SERVED,
      "this broker goes by an IP address, and browsers use passkeys at names only (http://localhost is one): whoever runs it can give it one in AGENTKEYS_BROKER_PUBLIC_URL",
    );
  }
  return { id: new URL(publicUrl).hostname, origin: publicUrl };
}

/** Whether browsers let a site at this URL use passkeys: a relying party is a domain, and an IP address is none (section 5.1.3 step 7). */
export function passkeysWorkAt(publicUrl: string): boolean {
  return isIP(new URL(publicUrl).hostname.replace(/^\[|\]$/g, "")) === 0;
}
