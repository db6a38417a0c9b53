import type { CDPSession, Page } from "playwright-core";

/** An authenticator built into the browser behind a page, which Chromium plays (WebAuthn Level 3 section 11). */
export interface VirtualAuthenticator {
  cdp: CDPSession;
  authenticatorId: string;
}

/** Puts one into the page's browser. Its person agrees to everything; with `verifies: false` it does not check that it is its person. */
export async function addAuthenticator(page: Page, { verifies = true } = {}): Promise<VirtualAuthenticator> {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: verifies,
      automaticPresenceSimulation: true,
    },
  });
  return { cdp, authenticatorId };
}
