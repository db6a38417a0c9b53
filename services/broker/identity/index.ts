/** Who people are: identities, the accounts that they anchor, and the one way to name both. */
export { type Email, parseEmail } from "./email.ts";
export type { Identity, IdentityStore } from "./store.ts";
