import type { Login, LoginPurpose } from "../login/index.ts";

/**
 * What the wallet agrees to by signing for a sign-in: what it does, for which machine, and the code that both screens show. It is the
 * one thing that a person reads in the wallet itself, where no page of ours can say anything.
 */
export function loginStatement({ purpose, deviceName, userCode }: Pick<Login, "purpose" | "deviceName" | "userCode">) {
  const name = plainName(deviceName);
  const machine = name === "" ? "a machine without a name" : `the machine '${name}'`;
  const only = `Sign only if you started this yourself and that machine shows the code ${userCode}.`;
  return `${deeds[purpose](machine)} ${only} This moves no funds and approves no transaction.`;
}

const deeds: Record<LoginPurpose, (machine: string) => string> = {
  "sign-in": (machine) => `Sign in to AgentKeys on ${machine}, as this wallet.`,
  link: (machine) => `Let this wallet sign in to the AgentKeys account that ${machine} is signed in to.`,
  "step-up": (machine) => `Prove to AgentKeys for ${machine} that you hold this wallet.`,
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
