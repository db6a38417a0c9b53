/** Browsers that are signed in to the account's page: a session by cookie, which is no token and opens no RPC. */
export { browserLogin, watchLogin } from "./browser-login.ts";
export { browserName } from "./browser-name.ts";
export { changeCookie } from "./change-cookie.ts";
export { type BrowserSession, openBrowserSession } from "./open-session.ts";
export { BROWSER_IDLE_MS, BROWSER_LIFE_MS, type BrowserParts } from "./parts.ts";
export { type BrowserSignIn, signInBrowser } from "./sign-in-browser.ts";
