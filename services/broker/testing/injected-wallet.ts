import type { Page } from "playwright-core";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";

/** A wallet in a browser, as pages see it (EIP-1193), whose key and whose person are here in the test. */
export interface InjectedWallet {
  address: string;
  /** Another account of the same wallet. */
  otherAddress: string;
  /** The methods that pages asked for. */
  asked: string[];
  /** The texts that were signed. */
  signed: string[];
  /** What the person does when the wallet asks: agrees, refuses, or signs with another account. */
  person: "agrees" | "refuses" | "uses the other account";
  /** The person changes the account in the wallet. */
  changeAccount(page: Page, address: string | undefined): Promise<void>;
}

export interface InjectOptions {
  /** By EIP-6963, under this name; absent: as `window.ethereum`. */
  announce?: string;
}

/** Puts a wallet into every page that `page` opens. It is connected to nobody yet. */
export async function injectWallet(page: Page, { announce }: InjectOptions = {}): Promise<InjectedWallet> {
  const [account, other] = [0, 1].map(() => privateKeyToAccount(generatePrivateKey())) as [Account, Account];
  const wallet: InjectedWallet = {
    address: account.address,
    otherAddress: other.address,
    asked: [],
    signed: [],
    person: "agrees",
    changeAccount: async (at, address) => {
      connected = address === undefined ? [] : [address];
      await at.evaluate(
        (accounts) => (window as unknown as { changed(a: string[]): void }).changed(accounts),
        connected,
      );
    },
  };
  let connected: string[] = [];
  const id = `wallet${++count}`;
  const refused = { error: { code: 4001, message: "User rejected the request." } };
  await page.exposeFunction(id, async (method: string, params: string[] = []): Promise<object> => {
    wallet.asked.push(method);
    switch (method) {
      case "eth_accounts":
        return { result: connected };
      case "eth_requestAccounts":
        if (wallet.person === "refuses") return refused;
        connected = [account.address];
        return { result: connected };
      case "personal_sign": {
        const [raw = "0x"] = params;
        if (wallet.person === "refuses") return refused;
        wallet.signed.push(Buffer.from(raw.slice(2), "hex").toString("utf8"));
        const signer = wallet.person === "agrees" ? account : other;
        return { result: await signer.signMessage({ message: { raw: raw as `0x${string}` } }) };
      }
      default:
        return { error: { code: 4200, message: "The method is not supported." } };
    }
  });
  await page.addInitScript(provide, { id, announce });
  return wallet;
}

type Account = ReturnType<typeof privateKeyToAccount>;
let count = 0;

/** Runs in the page. */
function provide({ id, announce }: { id: string; announce: string | undefined }): void {
  const world = window as unknown as Record<string, unknown>;
  const listeners: ((accounts: string[]) => void)[] = [];
  world["changed"] = (accounts: string[]): void => listeners.forEach((listener) => listener(accounts));
  const ask = world[id] as (method: string, params?: unknown) => Promise<{ result?: unknown; error?: object }>;
  const provider = {
    request: async ({ method, params }: { method: string; params?: unknown }) => {
      const { result, error } = await ask(method, params);
      if (error !== undefined) throw Object.assign(new Error("refused"), error);
      return result;
    },
    on: (event: string, listener: (accounts: string[]) => void) => {
      if (event === "accountsChanged") listeners.push(listener);
    },
  };
  if (announce === undefined) {
    world["ethereum"] = provider;
    return;
  }
  const icon = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>";
  const info = { uuid: id, name: announce, rdns: "com.example", icon };
  const tell = (): void =>
    void window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail: { info, provider } }));
  window.addEventListener("eip6963:requestProvider", tell);
  tell();
}
