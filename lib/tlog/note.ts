import { createPrivateKey, createPublicKey, hash, type KeyObject, sign, verify } from "node:crypto";

import { decodeBase64 } from "./base64.ts";
import { TlogError } from "./tlog-error.ts";

/**
 * A key that signs notes (c2sp.org/signed-note). Of the signature types the Ed25519 one alone: what a key of ours signs is
 * never signed in another way.
 */
export interface VerifierKey {
  /** Schema-less URL; for a log, its origin. */
  name: string;
  /** The first 4 bytes of SHA-256 over name, newline, type and public key. It names the key; it does not protect anything. */
  id: number;
  publicKey: KeyObject;
}

/** Signs the text of a note, giving its signature line. */
export interface NoteSigner {
  readonly key: VerifierKey;
  signatureLine(text: string): string;
}

const ED25519 = 0x01;
const PUBLIC_KEY_LENGTH = 32;
const SIGNATURE_LENGTH = 64;
const ID_LENGTH = 4;
/** Room for 16 of the largest signatures that the specification knows, and some text. */
const MAX_NOTE_LENGTH = 128 * 1024;

/** The verifier key of an Ed25519 public key. */
export function verifierKey(name: string, publicKey: KeyObject): VerifierKey {
  if (!isKeyName(name))
    throw new TlogError("MALFORMED", "a key's name is not empty, and has no space and no plus sign");
  const id = hash("sha256", Buffer.concat([Buffer.from(`${name}\n`), typed(publicKey)]), "buffer").readUInt32BE(0);
  return { name, id, publicKey };
}

/** `name+id+base64(type || public key)` */
export function formatVerifierKey(key: VerifierKey): string {
  return `${key.name}+${hex(key.id)}+${typed(key.publicKey).toString("base64")}`;
}

/** Reads what `formatVerifierKey` writes; the id has to be that of the name and key. @throws TlogError MALFORMED */
export function parseVerifierKey(text: string): VerifierKey {
  const match = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  const bytes = decodeBase64(match?.[3] ?? "");
  if (match?.[1] === undefined || bytes?.length !== 1 + PUBLIC_KEY_LENGTH || bytes[0] !== ED25519) {
    throw new TlogError("MALFORMED", "a log's key is name+id+key: 8 hex digits, then an Ed25519 key in base64");
  }
  const key = verifierKey(match[1], ed25519PublicKey(bytes.subarray(1)));
  if (hex(key.id) !== match[2])
    throw new TlogError("MALFORMED", "the id in the log's key is not that of its name and key");
  return key;
}

/** A signer over 32 bytes of Ed25519 seed (RFC 8032 section 5.1.5), which stay the caller's to zero. */
export function createNoteSigner(name: string, seed: Uint8Array): NoteSigner {
  const pkcs8 = Buffer.concat([PKCS8_ED25519, seed]);
  const privateKey = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
  pkcs8.fill(0);
  const key = verifierKey(name, createPublicKey(privateKey));
  const id = Buffer.alloc(ID_LENGTH);
  id.writeUInt32BE(key.id);
  return {
    key,
    signatureLine: (text) => {
      const signature = sign(null, Buffer.from(text), privateKey);
      return `\u2014 ${name} ${Buffer.concat([id, signature]).toString("base64")}\n`;
    },
  };
}

/** The text, which ends in a newline, with its signature. */
export function signNote(text: string, signer: NoteSigner): string {
  if (!isNoteText(text)) throw new TlogError("MALFORMED", "a note's text is lines without control characters");
  return `${text}\n${signer.signatureLine(text)}`;
}

/**
 * The text of a note, once `key`'s signature on it is found good. Signatures by other keys, witnesses' for example, are passed
 * over; a wrong one by `key` is never made good by another.
 * @throws TlogError MALFORMED, SIGNATURE
 */
export function openNote(note: string, key: VerifierKey): string {
  const separator = note.lastIndexOf("\n\n");
  if (note.length > MAX_NOTE_LENGTH || separator < 0 || !note.endsWith("\n") || !isNoteText(note)) throw notANote();
  const text = note.slice(0, separator + 1);
  const lines = note.slice(separator + 2, -1).split("\n");
  const signatures = lines.map(parseSignatureLine).filter(({ name, id }) => name === key.name && id === key.id);
  if (signatures.length === 0)
    throw new TlogError("SIGNATURE", `the note has no signature by ${key.name}+${hex(key.id)}`);
  for (const { signature } of signatures) {
    const good = signature.length === SIGNATURE_LENGTH && verify(null, Buffer.from(text), key.publicKey, signature);
    if (!good) throw new TlogError("SIGNATURE", `the note's signature by ${key.name}+${hex(key.id)} does not verify`);
  }
  return text;
}

function parseSignatureLine(line: string): { name: string; id: number; signature: Uint8Array } {
  const match = /^\u2014 ([^ ]+) ([^ ]+)$/u.exec(line);
  const bytes = decodeBase64(match?.[2] ?? "");
  if (match?.[1] === undefined || !isKeyName(match[1]) || bytes === undefined || bytes.length <= ID_LENGTH) {
    throw notANote();
  }
  return { name: match[1], id: bytes.readUInt32BE(0), signature: bytes.subarray(ID_LENGTH) };
}

/** The algorithm's byte and the 32 bytes of RFC 8032. */
function typed(publicKey: KeyObject): Buffer {
  if (publicKey.asymmetricKeyType !== "ed25519") throw new TlogError("MALFORMED", "a log's key is an Ed25519 key");
  const raw = publicKey.export({ format: "der", type: "spki" }).subarray(-PUBLIC_KEY_LENGTH);
  return Buffer.concat([Uint8Array.of(ED25519), raw]);
}

/** What stands before the 32 bytes in the DER forms of an Ed25519 key (RFC 8410). */
const SPKI_ED25519 = Buffer.from("302a300506032b6570032100", "hex");
const PKCS8_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");

function ed25519PublicKey(raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI_ED25519, raw]), format: "der", type: "spki" });
}

function isKeyName(name: string): boolean {
  return name !== "" && !/[\s+\p{White_Space}\p{Cc}]/u.test(name);
}

/** UTF-8 that can be written and read again, no control characters but newlines, and a newline at its end. */
function isNoteText(text: string): boolean {
  // eslint-disable-next-line no-control-regex -- they are what it looks for
  return text.endsWith("\n") && !/[\u0000-\u0009\u000b-\u001f]|\p{Surrogate}/u.test(text);
}

function hex(id: number): string {
  return id.toString(16).padStart(8, "0");
}

function notANote(): TlogError {
  return new TlogError("MALFORMED", "this is no signed note (c2sp.org/signed-note)");
}
