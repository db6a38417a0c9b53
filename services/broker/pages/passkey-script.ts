/**
 * Runs the ceremony of each form that is marked with `data-passkey`: asks the form's `data-options` what is to be signed, has a passkey
 * sign it, and brings that to its `data-finish`, each with the form's own fields. Either may answer where to go on instead (`next`). Needs no library: browsers of 2025 read and write this
 * JSON by themselves, and for older ones it is taken apart here.
 */
export const passkeyScript = `
"use strict";
const bytesOf = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const textOf = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\\+/g, "-").replace(/\\//g, "_").replace(/=/g, "");
const known = (list) => (list || []).map((each) => ({ ...each, id: bytesOf(each.id) }));

function createOptions(json) {
  if (PublicKeyCredential.parseCreationOptionsFromJSON) return PublicKeyCredential.parseCreationOptionsFromJSON(json);
  return { ...json, challenge: bytesOf(json.challenge), user: { ...json.user, id: bytesOf(json.user.id) },
    excludeCredentials: known(json.excludeCredentials) };
}
function getOptions(json) {
  if (PublicKeyCredential.parseRequestOptionsFromJSON) return PublicKeyCredential.parseRequestOptionsFromJSON(json);
  return { ...json, challenge: bytesOf(json.challenge), allowCredentials: known(json.allowCredentials) };
}
function jsonOf(credential) {
  if (credential.toJSON) return credential.toJSON();
  const { id, type, response } = credential;
  const out = { clientDataJSON: textOf(response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature"])
    if (response[name]) out[name] = textOf(response[name]);
  if (response.getTransports) out.transports = response.getTransports();
  return { id, rawId: id, type, response: out };
}

const words = {
  NotAllowedError: "Nothing was signed: it was cancelled, took too long, or there is no passkey for this site on this device.",
  InvalidStateError: "This device has a passkey of this account already.",
  NotSupportedError: "This device cannot make a passkey of the kind that is needed.",
  ConstraintError: "This device cannot make a passkey that checks who you are by a PIN, a fingerprint or your face.",
};

/** What the server said, for people. */
class Told extends Error {}

async function post(path, fields) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(fields),
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Told(answer.message || "The broker did not answer as it should. Try again.");
  return answer;
}

async function run(form, say) {
  const fields = Object.fromEntries(new FormData(form));
  const options = await post(form.dataset.options, fields);
  if (options.next) return location.assign(options.next);
  say("Follow what your browser or your security key asks.");
  const credential = options.create
    ? await navigator.credentials.create({ publicKey: createOptions(options.create) })
    : await navigator.credentials.get({ publicKey: getOptions(options.get) });
  say("One moment.");
  const { next } = await post(form.dataset.finish, { ...fields, answer: jsonOf(credential) });
  location.assign(next);
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const button = form.querySelector("button");
  const status = form.querySelector("[role=status]");
  const say = (text, wrong = false) => {
    status.textContent = text;
    status.classList.toggle("wrong", wrong);
  };
  form.hidden = false;
  if (!window.PublicKeyCredential) {
    button.disabled = true;
    say("This browser has no passkeys. Use another one, or another way to sign in.", true);
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    button.disabled = true;
    say("");
    run(form, say).catch((error) => {
      button.disabled = false;
      const away = error instanceof TypeError ? "The broker cannot be reached right now. Try again." : undefined;
      const elsewhere = error.name === "SecurityError"
        ? "Passkeys are for pages at " + form.dataset.origin + ", and this one is at " + location.origin + ". Open it there."
        : undefined;
      const told = error instanceof Told ? error.message : elsewhere || words[error.name] || away;
      say(told || "That did not work. Try again.", true);
    });
  });
}
`;
