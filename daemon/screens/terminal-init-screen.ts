import { styleText } from "node:util";

import { intro, isCancel, log, outro, spinner, text } from "@clack/prompts";

import type { Io } from "../io.ts";
import { duration } from "../output.ts";
import { ExitCode, Problem } from "../problem.ts";
import { askSignature } from "./ask-signature.ts";
import type { InitScreen } from "./init-screen.ts";
import { enrolledWords } from "../wire-identity.ts";
import { frozenWords, mailboxHint, nextSteps, passkeyPageWords } from "./init-words.ts";

/** For a person at a terminal. */
export function terminalInitScreen(io: Io, brokerUrl: string): InitScreen {
  const { stdin, stdout, clock } = io;
  const streams = { input: stdin, output: stdout };
  const wait = spinner({ output: stdout });
  let waiting = false;
  const waitFor = (message: string): void => {
    if (waiting) wait.message(message);
    else wait.start(message);
    waiting = true;
    process.on("exit", interrupted);
  };
  const waited = (message: string): void => {
    process.off("exit", interrupted);
    if (waiting) wait.stop(message);
    else log.success(message, streams);
    waiting = false;
  };

  intro("agentkeys init", streams);
  return {
    async askEmail() {
      const email = await text({
        ...streams,
        message: "Your e-mail address",
        placeholder: "you@example.com",
        validate: (value) => (/^\s*[^\s@]+@[^\s@]+\s*$/.test(value ?? "") ? undefined : "That is no e-mail address."),
      });
      if (isCancel(email))
        throw new Problem("CANCELLED", "standing", "Nothing was done.", { exitCode: ExitCode.interrupted });
      return email;
    },
    mailed: (email, code, expiresAt) => {
      log.step([`A mail is on its way to ${email}.`, ...mailboxHint(brokerUrl)].join("\n"), streams);
      const what = "Open the link in it. If the page shows this very code, press its button:";
      log.message([what, ...framed(code)], streams);
      waitFor(`Waiting for you, for ${duration(expiresAt - clock())} at the most`);
    },
    openPage: (url, provider, code, expiresAt) => {
      log.step(`Open this page, on this machine or another one, and sign in with ${provider}:\n${url}`, streams);
      log.message(["If it shows this very code, press its button, before and after:", ...framed(code)], streams);
      waitFor(`Waiting for you, for ${duration(expiresAt - clock())} at the most`);
    },
    openWalletPage: (url, code, expiresAt) => {
      log.step(`Open this page in a browser that has your wallet:\n${url}`, streams);
      log.message(["Sign there if the page and the wallet show this very code:", ...framed(code)], streams);
      waitFor(`Waiting for you, for ${duration(expiresAt - clock())} at the most`);
    },
    askSignature: (toSign) => askSignature({ io, json: false }, toSign),
    openPasskeyPage: (url, code, expiresAt) => {
      log.step([...passkeyPageWords, url].join("\n"), streams);
      log.message(["If it shows this very code, press its button:", ...framed(code)], streams);
      waitFor(`Waiting for you, for ${duration(expiresAt - clock())} at the most`);
    },
    hiccup: (problem) => waitFor(problem === undefined ? "Waiting for you" : `${problem.message} Still trying`),
    signedIn: ({ identity }) => {
      waited(`Signed in as ${enrolledWords(identity)}`);
      waitFor("Asking the key service for the account's wallet");
    },
    resumed: ({ identity }) => {
      waited(`Already signed in as ${enrolledWords(identity)}`);
      waitFor("Asking the key service for the account's wallet");
    },
    derived: (address) => {
      waited(`Wallet ${address}`);
      waitFor("The wallet signs the broker's challenge");
    },
    linked: () => {
      waited("The wallet has signed and is linked");
      waitFor("Finishing");
    },
    frozen: () => {
      waited("Signed in to a frozen account");
      outro(frozenWords.join("\n"), streams);
    },
    finished: (_, aws) => {
      const expiresAt = aws?.credentials.expiresAt;
      waited(
        aws === undefined || expiresAt === undefined
          ? "This machine is enrolled"
          : `AWS gave credentials for ${aws.roleArn}, good for ${duration(expiresAt - clock())}`,
      );
      outro(nextSteps(aws !== undefined).join("\n"), streams);
    },
    brokenOff: () => {
      process.off("exit", interrupted);
      if (waiting) wait.error("Stopped");
      waiting = false;
    },
  };
}

/** Drawn here, since the terminal library's own boxes fail in a terminal that is narrow, or does not say how wide it is. */
function framed(code: string): string[] {
  const text = `   ${code.split("").join(" ")}   `;
  const line = "─".repeat(text.length);
  return ["", `╭${line}╮`, `│${styleText("bold", text)}│`, `╰${line}╯`];
}

/** While its spinner turns, the terminal library reads the keys and ends the process by itself on Ctrl-C, as if all were well. */
function interrupted(): void {
  process.exitCode = ExitCode.interrupted;
}
