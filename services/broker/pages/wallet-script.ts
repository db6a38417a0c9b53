/**
 * Signs in with a wallet in this browser (EIP-1193), found by EIP-6963 or, where none announces itself, at `window.ethereum`. It fills in
 * the forms that a person can fill in by hand. What wallets say of themselves is shown as text only, and their pictures not at all.
 */
export const walletScript = `
"use strict";
const connectForm = document.getElementById("connect");
const answerForm = document.getElementById("answer");
const status = document.getElementById("status");
const buttons = document.getElementById("wallets");
const byHand = document.getElementById("by-hand");
const wallets = new Map();

function say(text) {
  status.textContent = text;
}

function plain(name) {
  const visible = String(name).replace(/[\\p{C}\\p{Z}]+/gu, " ").trim().slice(0, 40);
  return visible === "" ? "wallet" : visible;
}

/** What went wrong in the wallet, by EIP-1193's codes. */
function explain(error) {
  const code = error === null || typeof error !== "object" ? undefined : error.code;
  if (code === 4001) return "You said no in the wallet, and nothing was sent. You can try again.";
  if (code === -32002) return "The wallet is asking you already: open it, and answer there.";
  if (code === 4100) return "The wallet does not let this page use that address. Connect it again.";
  if (code === 4900 || code === 4901) return "The wallet has lost its connection. Try again in a moment.";
  return "The wallet could not do it. Try again, or sign somewhere else.";
}

function accountsIn(answer) {
  return Array.isArray(answer) ? answer.filter((each) => /^0x[0-9a-fA-F]{40}$/.test(each)) : [];
}

function holds(accounts, address) {
  return accounts.some((each) => each.toLowerCase() === address.toLowerCase());
}

async function busy(work) {
  const all = buttons.querySelectorAll("button");
  for (const each of all) each.disabled = true;
  say("Look at your wallet: it asks you now.");
  try {
    say((await work()) ?? "");
  } catch (error) {
    say(explain(error));
  } finally {
    for (const each of all) each.disabled = false;
  }
}

function addButton(label, press) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "go";
  button.textContent = label;
  button.addEventListener("click", press);
  buttons.append(button);
  buttons.hidden = false;
  byHand.open = false;
}

/** The first page: which wallet, and which address of it. */
function offer(name, provider) {
  addButton("Connect " + plain(name), () =>
    busy(async () => {
      const [address] = accountsIn(await provider.request({ method: "eth_requestAccounts" }));
      if (address === undefined) return "The wallet gave no address. Choose an account in it, and try again.";
      document.getElementById("address").value = address;
      connectForm.submit();
    }),
  );
}

/** The second page: the wallet that has the address signs the text. */
async function prepare(name, provider) {
  const message = document.getElementById("message");
  const address = message.dataset.address;
  const accounts = accountsIn(await provider.request({ method: "eth_accounts" }));
  if (!holds(accounts, address)) return;
  const sign = () =>
    busy(async () => {
      const now = accountsIn(await provider.request({ method: "eth_accounts" }));
      if (!holds(now, address)) return elsewhere(now, address);
      const bytes = new TextEncoder().encode(message.textContent);
      const hex = "0x" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
      document.getElementById("signature").value = await provider.request({ method: "personal_sign", params: [hex, address] });
      answerForm.submit();
    });
  const first = buttons.hidden;
  addButton("Sign with " + plain(name), sign);
  provider.on?.("accountsChanged", (changed) => {
    const accounts = accountsIn(changed);
    say(holds(accounts, address) ? "" : elsewhere(accounts, address));
  });
  // The person has just chosen it; one who said no presses the button.
  if (first && !message.hasAttribute("data-again")) await sign();
}

function elsewhere(accounts, address) {
  const now = accounts.length === 0 ? "no account" : accounts[0];
  return "Your wallet is at " + now + " now, and this text is for " + address + ". Change back in the wallet, or take another address.";
}

function found(key, name, provider) {
  if (wallets.has(key) || wallets.size >= 12 || typeof provider?.request !== "function") return;
  wallets.set(key, provider);
  if (connectForm !== null) offer(name, provider);
  else if (answerForm !== null) prepare(name, provider).catch((error) => say(explain(error)));
}

addEventListener("eip6963:announceProvider", ({ detail }) => {
  if (typeof detail?.info?.uuid === "string") found(detail.info.uuid, detail.info.name, detail.provider);
});
dispatchEvent(new Event("eip6963:requestProvider"));
if (wallets.size === 0) found("injected", "wallet", window.ethereum);
if (wallets.size === 0 && connectForm !== null) {
  say("This browser seems to have no wallet. Open this page in one that has, or sign somewhere else.");
}
`;
