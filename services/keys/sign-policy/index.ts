/** What a worker signs: its own rule, so that a stolen session is no signing oracle. */
export { type Allowance, createRateLimit } from "./rate-limit.ts";
export { createSignPolicy, type SignPolicy, type SignPolicyOptions } from "./sign-policy.ts";
export { parseSignInMessage, type SignInMessage } from "./sign-in-message.ts";
