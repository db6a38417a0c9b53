/** Signing in: a person confirms, somewhere else, what a program started. One folder per method. */
export { awaitLogin, collectLogin, type Collection } from "./await-login.ts";
export { type Bell, createBell } from "./bell.ts";
export { BROWSER_BINDING, isForBrowser } from "./browser-login.ts";
export { decideLogin, findByHandle, type LoginHandle, reviewLogin } from "./decide-login.ts";
export { type DeviceName, parseDeviceName } from "./device-name.ts";
export { startEmailLogin } from "./email/start-email-login.ts";
export { type HeldLogin, heldLogin } from "./held-login.ts";
export { LOGIN_LIFE_MS, type LoginRequest, type StartedLogin } from "./new-login.ts";
export * from "./oauth/index.ts";
export { askPasskey, proveByPasskey, provenHere, type PasskeyVisit } from "./passkey/prove-by-passkey.ts";
export { startPasskeyLogin } from "./passkey/start-passkey-login.ts";
export type { LoginParts } from "./parts.ts";
export { gone, LinkUsed, type LoginEvent, next } from "./state-machine.ts";
export type {
  Login,
  LoginIdentity,
  LoginMethod,
  LoginPurpose,
  LoginStatus,
  LoginStore,
  OauthRequest,
  OauthRequestStore,
  ProvingBrowser,
} from "./store.ts";
export { confirmByWallet } from "./wallet/confirm-by-wallet.ts";
export { startWalletLogin } from "./wallet/start-wallet-login.ts";
