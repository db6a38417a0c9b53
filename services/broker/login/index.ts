/** Signing in: a person confirms, somewhere else, what a program started. One folder per method. */
export { awaitLogin, type Collection } from "./await-login.ts";
export { type Bell, createBell } from "./bell.ts";
export { decideLogin, reviewLogin } from "./decide-login.ts";
export { type DeviceName, parseDeviceName } from "./device-name.ts";
export { LOGIN_LIFE_MS, startEmailLogin } from "./email/start-email-login.ts";
export type { LoginParts } from "./parts.ts";
export { LinkUsed, type LoginEvent, next } from "./state-machine.ts";
export type { Login, LoginStatus, LoginStore } from "./store.ts";
