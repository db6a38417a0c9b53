import type { Io } from "../io.ts";
import { isoTime } from "../output.ts";
import type { Enrolment } from "../state/index.ts";
import { askSignature } from "./ask-signature.ts";
import type { InitScreen } from "./init-screen.ts";
import { noEmail } from "./init-words.ts";

/** One JSON object per line as things happen, told apart by `event`; the last one is `done`. */
export function jsonInitScreen(io: Io): InitScreen {
  const { stdout } = io;
  const emit = (event: string, fields: object): void => void stdout.write(JSON.stringify({ event, ...fields }) + "\n");
  let away = false;
  return {
    askEmail: () => Promise.reject(noEmail()),
    mailed: (email, code, expiresAt) => emit("mailed", { email, user_code: code, expires_at: isoTime(expiresAt) }),
    openPage: (url, provider, code, expiresAt) =>
      emit("open_page", { url, provider, user_code: code, expires_at: isoTime(expiresAt) }),
    openWalletPage: (url, code, expiresAt) =>
      emit("open_page", { url, provider: "wallet", user_code: code, expires_at: isoTime(expiresAt) }),
    askSignature: (toSign) => askSignature({ io, json: true }, toSign),
    openPasskeyPage: (url, code, expiresAt) =>
      emit("open_page", { url, provider: "passkey", user_code: code, expires_at: isoTime(expiresAt) }),
    hiccup: (problem) => {
      if (problem !== undefined && !away) emit("waiting", { reason: problem.reason, message: problem.text });
      away = problem !== undefined;
    },
    signedIn: (enrolment) => emit("signed_in", account(enrolment)),
    resumed: (enrolment) => emit("signed_in", { ...account(enrolment), resumed: true }),
    derived: (address) => emit("wallet_derived", { wallet_address: address }),
    linked: (address) => emit("wallet_linked", { wallet_address: address }),
    frozen: (enrolment) => emit("done", { ...account(enrolment), frozen: true }),
    finished: (enrolment, aws) =>
      emit("done", {
        ...account(enrolment),
        wallet_address: enrolment.walletAddress,
        ...(aws && { role_arn: aws.roleArn, credentials_expire_at: isoTime(aws.credentials.expiresAt) }),
      }),
    brokenOff: () => undefined,
  };
}

function account({ omniAccount, identity, session }: Enrolment): object {
  return { omni_account: omniAccount, identity, session_expires_at: isoTime(session.expiresAt) };
}
