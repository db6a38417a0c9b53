import { createHash, type KeyObject } from "node:crypto";

import { canonicalJson, type JsonValue } from "./canonical-json.ts";
import { isSignedAs, signAs } from "./ed25519.ts";
import { AttestationError } from "./evidence.ts";

/** The profile of these claims (`eat_profile`, RFC 9711 section 4.3.2): another one is another set of rules. */
export const EAT_PROFILE = "tag:agentkeys,2026:evidence-v1";

/** What a setting of the worker may be. */
export type SettingValue = string | number | boolean | readonly string[];

/**
 * What the worker says of itself, on one connection, for one nonce. Evidence covers these claims by their digest, so that they are as
 * true as the code that is measured beside them. Names are those of RFC 9711 (EAT) where it has one.
 */
export interface Claims {
  /** `eat_nonce`: the caller's bytes, 16 to 64. */
  nonce: Uint8Array;
  /** `iat`: when the claims were made, in whole seconds since 1970. */
  issuedAt: number;
  /** `boot_id`: made anew at each start of the worker. */
  bootId: string;
  /** `tls_spki_sha256`: SHA-256 of the public key (SubjectPublicKeyInfo, DER) of the worker's TLS certificate, 32 bytes. */
  tlsSpkiSha256: Uint8Array;
  /** `tls_exporter`: the exporter value of the connection that the claims were asked for on (RFC 9266), 32 bytes. */
  tlsExporter: Uint8Array;
  /** `identity_pub`: the Ed25519 key derived from the master secret: which worker this is, whatever code it runs. 32 bytes. */
  identityKey: Uint8Array;
  /** `signer_version`: the version of the worker's program. */
  signerVersion: string;
  /** `settings`: those that decide what is signed and for whom. */
  settings: Readonly<Record<string, SettingValue>>;
  /** `log`: the head of the sign log. */
  log: LogHead;
  /** `nv_counter`: the platform's monotonic counter; absent where it has none. */
  nvCounter?: number;
  /**
   * `min_security_version`: the lowest security version of a release that the seal of the master secret opens for; absent where it is
   * sealed for no release key. Older releases are closed out by the platform for good.
   */
  minSecurityVersion?: number;
}

/** The head of a Merkle log (RFC 6962 section 2.1). */
export interface LogHead {
  /** The key that signs its checkpoints, as c2sp.org/signed-note writes it: `name+hash+key`. The name is the log's origin. */
  vkey: string;
  /** How many entries it has. */
  size: number;
  /** The hash over them, 32 bytes. */
  root: Uint8Array;
}

/** The text form of an Ed25519 key that signs notes (c2sp.org/signed-note); its name is printable ASCII here. */
export const VERIFIER_KEY = /^[!-*,-~]{1,255}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$/;

/** Far more than claims take. */
const MAX_BYTES = 16 * 1024;

/** The claims as they are sent and hashed: canonical JSON (RFC 8785) in UTF-8. */
export function encodeClaims(claims: Claims): Uint8Array {
  return Buffer.from(
    canonicalJson({
      eat_profile: EAT_PROFILE,
      eat_nonce: Buffer.from(claims.nonce).toString("base64url"),
      iat: claims.issuedAt,
      boot_id: claims.bootId,
      tls_spki_sha256: hex(claims.tlsSpkiSha256),
      tls_exporter: hex(claims.tlsExporter),
      identity_pub: identityKeyName(claims.identityKey),
      signer_version: claims.signerVersion,
      settings: claims.settings,
      log: { vkey: claims.log.vkey, size: claims.log.size, root: hex(claims.log.root) },
      ...(claims.nvCounter !== undefined && { nv_counter: claims.nvCounter }),
      ...(claims.minSecurityVersion !== undefined && { min_security_version: claims.minSecurityVersion }),
    }),
    "utf8",
  );
}

/** What evidence has to cover (`Expected.reportData`): 32 bytes that stand for exactly these claims and for no other use of SHA-256. */
export function claimsDigest(encoded: Uint8Array): Uint8Array {
  return createHash("sha256").update("agentkeys/evidence/v1\0").update(encoded).digest();
}

const SIGNED_FOR = "agentkeys/claims/v1";

/**
 * Evidence tells which code names an identity key; this signature tells that it has it. Without it whoever can have hardware say anything
 * (broken silicon, a leaked attestation key) could name the key of another worker, which is public.
 */
export function signClaims(encoded: Uint8Array, identityKey: KeyObject): Uint8Array {
  return signAs(SIGNED_FOR, encoded, identityKey);
}

/** Whether the identity key (32 bytes) signed the claims. */
export function areSignedBy(encoded: Uint8Array, signature: Uint8Array, identityKey: Uint8Array): boolean {
  return isSignedAs(SIGNED_FOR, { message: encoded, signature, publicKey: identityKey });
}

/**
 * Reads claims that came from elsewhere: every member is there, is what it should be, and there is no other; and the text is the
 * canonical one. @throws AttestationError MALFORMED, UNSUPPORTED for another profile
 */
export function parseClaims(encoded: Uint8Array): Claims {
  if (encoded.length > MAX_BYTES) throw malformed("they are longer than 16 KiB");
  const value = parseJson(encoded);
  const members = new Members("the claims", value);
  const profile = members.text("eat_profile", /^.{1,200}$/);
  if (profile !== EAT_PROFILE) {
    throw new AttestationError(
      "UNSUPPORTED",
      `the claims are of the profile ${JSON.stringify(profile)}, not ${EAT_PROFILE}`,
    );
  }
  const log = new Members("log", members.take("log"));
  const nvCounter = members.optional("nv_counter");
  const least = members.optional("min_security_version");
  const claims: Claims = {
    nonce: Buffer.from(members.text("eat_nonce", /^[\w-]{22,86}$/), "base64url"),
    issuedAt: members.integer("iat"),
    bootId: members.text("boot_id", /^[\w-]{16,64}$/),
    tlsSpkiSha256: members.bytes("tls_spki_sha256"),
    tlsExporter: members.bytes("tls_exporter"),
    identityKey: parseIdentityKey(members.text("identity_pub", IDENTITY_KEY)),
    signerVersion: members.text("signer_version", /^[\w.+-]{1,64}$/),
    settings: parseSettings(members.take("settings")),
    log: { vkey: log.text("vkey", VERIFIER_KEY), size: log.integer("size"), root: log.bytes("root") },
    ...(nvCounter !== undefined && { nvCounter: integer("nv_counter", nvCounter) }),
    ...(least !== undefined && { minSecurityVersion: integer("min_security_version", least) }),
  };
  log.end();
  members.end();
  if (claims.nonce.length < 16 || claims.nonce.length > 64) throw malformed("eat_nonce is not 16 to 64 bytes");
  // Also refuses members that came twice, numbers written another way, and base64url with bits to spare.
  if (!Buffer.from(encodeClaims(claims)).equals(encoded))
    throw malformed("they are not in their canonical form (RFC 8785)");
  return claims;
}

const IDENTITY_KEY = /^ed25519:[0-9a-f]{64}$/;

/** An identity key as it stands in claims and policies: `ed25519:` and 64 lower-case hex characters. */
export function identityKeyName(key: Uint8Array): string {
  return `ed25519:${hex(key)}`;
}

function parseIdentityKey(name: string): Uint8Array {
  return Buffer.from(name.slice("ed25519:".length), "hex");
}

/** @throws AttestationError MALFORMED */
export function parseSettings(value: JsonValue): Record<string, SettingValue> {
  const object = new Members("settings", value);
  const settings: Record<string, SettingValue> = {};
  for (const name of object.names()) {
    if (!/^[a-z][a-z0-9_]{0,63}$/.test(name)) throw malformed("a setting's name is none");
    settings[name] = settingValue(name, object.take(name));
  }
  return settings;
}

/** What moves a cursor, turns the direction of writing, hides something or is half a character: a person reviews these texts. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/u;

function settingValue(name: string, value: JsonValue): SettingValue {
  const texts = Array.isArray(value) ? (value as readonly JsonValue[]) : [value];
  if (texts.some((text) => typeof text === "string" && UNPRINTABLE.test(text)))
    throw malformed(`settings.${name} has characters that cannot be shown`);
  if (typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number") return integer(`settings.${name}`, value);
  if (Array.isArray(value)) {
    const items = (value as readonly JsonValue[]).filter((item) => typeof item === "string");
    if (items.length === value.length) return items;
  }
  throw malformed(`settings.${name} is neither text, a whole number, yes or no, nor a list of texts`);
}

function integer(name: string, value: JsonValue): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    throw malformed(`${name} is no whole number`);
  return value;
}

/** Takes the members out of an object, each once; what nobody asked for is refused at the end. */
class Members {
  readonly #name: string;
  readonly #left: Map<string, JsonValue>;

  constructor(name: string, value: JsonValue) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed(`${name} is no object`);
    this.#name = name;
    this.#left = new Map(Object.entries(value));
  }

  names(): string[] {
    return [...this.#left.keys()];
  }

  optional(name: string): JsonValue | undefined {
    const value = this.#left.get(name);
    this.#left.delete(name);
    return value;
  }

  take(name: string): JsonValue {
    const value = this.optional(name);
    if (value === undefined) throw malformed(`${name} is missing`);
    return value;
  }

  text(name: string, pattern: RegExp): string {
    const value = this.take(name);
    if (typeof value !== "string" || !pattern.test(value)) throw malformed(`${name} is not what it should be`);
    return value;
  }

  bytes(name: string): Uint8Array {
    return Buffer.from(this.text(name, /^[0-9a-f]{64}$/), "hex");
  }

  integer(name: string): number {
    return integer(name, this.take(name));
  }

  end(): void {
    const [other] = this.#left.keys();
    if (other !== undefined) throw malformed(`${this.#name} has a member that is not known here`);
  }
}

function parseJson(encoded: Uint8Array): JsonValue {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(encoded)) as JsonValue;
  } catch (cause) {
    throw malformed("they are no JSON", cause);
  }
}

function malformed(why: string, cause?: unknown): AttestationError {
  return new AttestationError("MALFORMED", `the claims cannot be read: ${why}`, { cause });
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
