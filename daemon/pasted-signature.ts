import { checksumAddress, type EvmAddress, recoverEip191 } from "@agentkeys/lib/ethereum";

import { checkChallenge } from "./challenge.ts";
import { Problem, problemOf } from "./problem.ts";
import type { Broker } from "./services.ts";

/** What a person is to sign with their wallet, wherever that is. */
export interface ToSign {
  /** In EIP-55's form. */
  address: string;
  /** Printable ASCII and line feeds; to be signed as it is, as a personal message (EIP-191). */
  message: string;
  /** It stands in the message too. */
  code: string;
  /** Epoch milliseconds. */
  expiresAt: number;
  /** What was wrong with the last signature. */
  problem?: string;
}

export interface SignatureEvents {
  /** Shows what is to be signed, and resolves to what the person brings; `undefined` where nothing comes any more. */
  askSignature(toSign: ToSign): Promise<string | undefined>;
}

/** `0x` and hex: of a key (65 bytes), or of a wallet that is a contract. */
const SIGNATURE = /^0x([0-9a-fA-F]{2}){65,4096}$/;
const KEY_SIGNATURE_LENGTH = 132;
const TRIES = 5;

/**
 * Confirms a sign-in with a signature that a person brings. `sites`: the URLs that the broker is known by; a text for another site is
 * not shown, since a signature over it could be worth something there.
 * @throws Problem CHALLENGE_UNEXPECTED, SIGNATURE_INVALID, CHALLENGE_EXPIRED, WALLET_NOT_OWN …
 */
export async function confirmByHand(
  { wallet }: Pick<Broker, "wallet">,
  login: { loginId: string; loginSecret: string; code: string; expiresAt: number },
  { address, sites }: { address: EvmAddress; sites: readonly string[] },
  on: SignatureEvents,
): Promise<void> {
  const { loginId, loginSecret, code, expiresAt } = login;
  const { requestId, siweMessage: message } = await wallet.startWalletAuth({ address, loginId, loginSecret });
  checkText(message, { address, code, sites });
  const toSign = { address: checksumAddress(address), message, code, expiresAt };
  let wrong: Problem | undefined;
  for (let tries = 0; tries < TRIES; tries++) {
    const brought = await on.askSignature({ ...toSign, ...(wrong && { problem: wrong.message }) });
    if (brought === undefined) break;
    wrong = await refusalOf({ requestId, signature: brought.trim() }, { wallet }, toSign);
    if (wrong === undefined) return;
  }
  throw wrong ?? noSignature();
}

async function refusalOf(
  answer: { requestId: string; signature: string },
  { wallet }: Pick<Broker, "wallet">,
  toSign: ToSign,
): Promise<Problem | undefined> {
  if (!SIGNATURE.test(answer.signature)) {
    return wrongSignature(
      "That is no signature: it is 0x and 130 hex characters (more, of a wallet that is a contract).",
    );
  }
  try {
    await wallet.verifyWallet(answer);
    return undefined;
  } catch (error) {
    const problem = problemOf(error);
    if (problem.reason === "SIGNATURE_INVALID")
      return wrongSignature(explained(answer.signature, toSign) ?? problem.message);
    if (problem.reason !== "CHALLENGE_EXPIRED") throw problem;
    throw new Problem(problem.reason, "standing", "The text was not signed in time: it is good for 5 minutes.", {
      remedy: "Run the command again, for a new one.",
      cause: problem,
    });
  }
}

/** Whose signature it is instead, as far as that can be told: a text that was changed on the way looks the same. */
function explained(signature: string, { address, message }: ToSign): string | undefined {
  if (signature.length !== KEY_SIGNATURE_LENGTH) return undefined;
  try {
    const signer = checksumAddress(recoverEip191(Buffer.from(message, "utf8"), signature));
    return `${address} has not signed this text: either ${signer} has, or the text was not taken letter by letter.`;
  } catch {
    return undefined;
  }
}

/** @throws Problem CHALLENGE_UNEXPECTED */
function checkText(
  message: string,
  { address, code, sites }: { address: EvmAddress; code: string; sites: readonly string[] },
): void {
  const isOurs = (site: string): boolean => {
    try {
      checkChallenge(message, { issuer: site, address });
      return true;
    } catch {
      return false;
    }
  };
  if (/^[\x20-\x7e\n]+$/.test(message) && message.includes(code) && sites.some(isOurs)) return;
  const hosts = [...new Set(sites.map((site) => new URL(site).host))].join(" or ");
  throw new Problem(
    "CHALLENGE_UNEXPECTED",
    "standing",
    `What the broker wants to have signed is no sign-in at ${hosts}.`,
    {
      remedy:
        "Nothing was shown to sign. AGENTKEYS_BROKER_URL must be the URL that the broker itself goes by; else leave --paste away, and use its page.",
    },
  );
}

function wrongSignature(message: string): Problem {
  return new Problem("SIGNATURE_INVALID", "standing", message, {
    remedy: "Run the command again, and sign the new text as a personal message (EIP-191).",
  });
}

function noSignature(): Problem {
  return new Problem("SIGNATURE_INVALID", "standing", "No signature came, and nobody was signed in.", {
    remedy: "Run the command again, and give it the signature on its standard input.",
  });
}
