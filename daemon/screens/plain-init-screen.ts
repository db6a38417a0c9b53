import type { Io } from "../io.ts";
import { duration } from "../output.ts";
import { askSignature } from "./ask-signature.ts";
import type { InitScreen } from "./init-screen.ts";
import { enrolledWords } from "../wire-identity.ts";
import { frozenWords, mailboxHint, nextSteps, noEmail, passkeyPageWords } from "./init-words.ts";

/** Plain lines: for a log, a pipe, a terminal that is none. */
export function plainInitScreen(io: Io, brokerUrl: string): InitScreen {
  const { stdout, clock } = io;
  const line = (text: string): void => void stdout.write(text + "\n");
  let away = false;
  return {
    askEmail: () => Promise.reject(noEmail()),
    mailed: (email, code, expiresAt) => {
      line(`A mail is on its way to ${email}.`);
      mailboxHint(brokerUrl).forEach(line);
      line(`Open the link in it. If the page shows this very code, press its button: ${code}`);
      line(`Waiting, for ${duration(expiresAt - clock())} at the most.`);
    },
    openPage: (url, provider, code, expiresAt) => {
      line(`Open this page, on this machine or another one, and sign in with ${provider}:`);
      line(`  ${url}`);
      line(`If it shows this very code, press its button, before and after: ${code}`);
      line(`Waiting, for ${duration(expiresAt - clock())} at the most.`);
    },
    openWalletPage: (url, code, expiresAt) => {
      line("Open this page in a browser that has your wallet:");
      line(`  ${url}`);
      line(`Sign there if the page and the wallet show this very code: ${code}`);
      line(`Waiting, for ${duration(expiresAt - clock())} at the most.`);
    },
    askSignature: (toSign) => askSignature({ io, json: false }, toSign),
    openPasskeyPage: (url, code, expiresAt) => {
      passkeyPageWords.forEach(line);
      line(`  ${url}`);
      line(`If it shows this very code, press its button: ${code}`);
      line(`Waiting, for ${duration(expiresAt - clock())} at the most.`);
    },
    hiccup: (problem) => {
      if (problem !== undefined && !away) line(`${problem.message} Still trying.`);
      if (problem === undefined && away) line("The broker answers again.");
      away = problem !== undefined;
    },
    signedIn: ({ identity }) => line(`Signed in as ${enrolledWords(identity)}.`),
    resumed: ({ identity }) => line(`Already signed in as ${enrolledWords(identity)}; going on with the wallet.`),
    derived: (address) => line(`The key service holds this account's wallet: ${address}.`),
    linked: () => line("The wallet has signed the broker's challenge and is linked."),
    frozen: () => frozenWords.forEach(line),
    finished: (_, aws) => {
      if (aws !== undefined) {
        line(`AWS gave credentials for ${aws.roleArn}, good for ${duration(aws.credentials.expiresAt - clock())}.`);
      }
      nextSteps(aws !== undefined).forEach(line);
    },
    brokenOff: () => undefined,
  };
}
