import { isForBrowser, type Login, type LoginPurpose } from "../login/index.ts";

/**
 * What the wallet agrees to by signing for a sign-in: what it does, for which machine or browser, and the code that both screens show. It is the
 * one thing that a person reads in the wallet itself, where no page of ours can say anything.
 */
export function loginStatement(login: Pick<Login, "purpose" | "deviceName" | "userCode" | "dpopThumbprint">): string {
  const name = plainName(login.deviceName);
  const kind = isForBrowser(login) ? "browser" : "machine";
  const starter = name === "" ? `a ${kind} without a name` : `the ${kind} '${name}'`;
  const only = `Sign only if you started this yourself and that ${kind} shows the code ${login.userCode}.`;
  return `${deeds[login.purpose](starter)} ${only} This moves no funds and approves no transaction.`;
}

const deeds: Record<LoginPurpose, (starter: string) => string> = {
  "sign-in": (starter) => `Sign in to AgentKeys on ${starter}, as this wallet.`,
  link: (starter) => `Let this wallet sign in to the AgentKeys account that ${starter} is signed in to.`,
  "step-up": (starter) => `Prove to AgentKeys for ${starter} that you hold this wallet.`,
};

/**
 * A machine's name in the few characters that a statement may have (EIP-4361: printable ASCII without quotes and brackets) and that
 * cannot end the quotes around it or begin a sentence of ours.
 */
function plainName(name: string): string {
  return name
    .normalize("NFKD")
    .replace(/[\p{M}'’]/gu, "")
    .replace(/[^A-Za-z0-9 _-]/g, "?")
    .replace(/ +/g, " ")
    .trim();
}
