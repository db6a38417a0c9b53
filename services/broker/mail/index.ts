/** Mail: what is sent, and the two ways to send it. */
export { createDevMailbox, type DevMailbox, type KeptMail } from "./dev-mailbox.ts";
export type { Mail, Mailer } from "./mailer.ts";
export { noticeMail, type NoticeFacts } from "./notice-mail.ts";
export { signInMail, type SignInFacts } from "./sign-in-mail.ts";
export { createSmtpMailer, type SmtpOptions } from "./smtp.ts";
export { unlinkable } from "./unlinkable.ts";
