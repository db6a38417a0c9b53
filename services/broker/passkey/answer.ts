import { ErrorReason, Failure } from "@agentkeys/lib/failure";

/** Of a credential id or of what an authenticator says, in characters of base64url: none is longer (section 5.8.3: ids have 1023 bytes at most). */
const MAX_LENGTH = 6000;

/** A PublicKeyCredential as browsers make JSON of it, its fields read and nothing verified yet. */
export interface Answer<F extends string> {
  credentialId: string;
  response: Record<F | "clientDataJSON", string>;
  transports: readonly string[];
  /** What the browser says it was asked, read from `clientDataJSON`. */
  challenge: string;
}

/** Reads what a browser sent. @throws Failure INVALID_REQUEST */
export function readAnswer<F extends string>(answer: unknown, fields: readonly F[]): Answer<F> {
  const { id, rawId, type, response } = objectIn(answer);
  if (type !== "public-key" || id !== rawId) throw notAnAnswer();
  const given = objectIn(response);
  const read = Object.fromEntries([...fields, "clientDataJSON"].map((name) => [name, base64urlIn(given[name])]));
  const clientData = objectIn(parsed(Buffer.from(read["clientDataJSON"] ?? "", "base64url").toString("utf8")));
  // Pages of ours stand in no other site's frame.
  if (clientData["crossOrigin"] === true || "topOrigin" in clientData) throw notAnAnswer();
  return {
    credentialId: base64urlIn(id),
    response: read as Answer<F>["response"],
    transports: Array.isArray(given["transports"]) ? given["transports"].filter(isTransport) : [],
    challenge: base64urlIn(clientData["challenge"]),
  };
}

/** Section 5.8.4, and what it names `smart-card` and `hybrid`. */
const transports = ["usb", "nfc", "ble", "smart-card", "hybrid", "internal"];

function isTransport(value: unknown): value is string {
  return typeof value === "string" && transports.includes(value);
}

function objectIn(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw notAnAnswer();
  return value as Record<string, unknown>;
}

function base64urlIn(value: unknown): string {
  if (typeof value !== "string" || value.length > MAX_LENGTH || !/^[A-Za-z0-9_-]+$/.test(value)) throw notAnAnswer();
  return value;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw notAnAnswer();
  }
}

function notAnAnswer(): Failure {
  return new Failure(ErrorReason.INVALID_REQUEST, "what was sent is not what a passkey answers in a browser");
}
