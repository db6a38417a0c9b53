import type { Io } from "../io.ts";
import { duration } from "../output.ts";
import { Problem } from "../problem.ts";
import { type InitScreen, nextSteps } from "./init-screen.ts";

/** Plain lines: for a log, a pipe, a terminal that is none. */
export function plainInitScreen({ stdout, clock }: Pick<Io, "stdout" | "clock">): InitScreen {
  const line = (text: string): void => void stdout.write(text + "\n");
  let away = false;
  return {
    askEmail: () => Promise.reject(noEmail()),
    mailed: (email, code, expiresAt) => {
      line(`A mail is on its way to ${email}.`);
      line(`Open the link in it, compare the code, and press the button. Your code: ${code}`);
      line(`Waiting, for ${duration(expiresAt - clock())} at the most.`);
    },
    hiccup: (problem) => {
      if (problem !== undefined && !away) line(`${problem.message} Still trying.`);
      if (problem === undefined && away) line("The broker answers again.");
      away = problem !== undefined;
    },
    signedIn: ({ identity }) => line(`Signed in as ${identity.value}.`),
    resumed: ({ identity }) => line(`Already signed in as ${identity.value}; going on with the wallet.`),
    derived: (address) => line(`The key service holds this account's wallet: ${address}.`),
    linked: () => line("The wallet has signed the broker's challenge and is linked."),
    finished: (_, aws) => {
      if (aws !== undefined) {
        line(`AWS gave credentials for ${aws.roleArn}, good for ${duration(aws.credentials.expiresAt - clock())}.`);
      }
      nextSteps(aws !== undefined).forEach(line);
    },
    brokenOff: () => undefined,
  };
}

/** Nobody can be asked. */
export function noEmail(): Problem {
  return new Problem("USAGE", "usage", "An e-mail address is needed, and there is nobody to ask for it.", {
    remedy: "Run `agentkeys init --email you@example.com`.",
  });
}
