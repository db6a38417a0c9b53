import { createHmac } from "node:crypto";

import type { RandomBytes } from "../random.ts";
import { equalSecrets } from "../secret.ts";
import { type CommandCode, sessionAttribute } from "./constants.ts";
import { TpmChannelError } from "./errors.ts";
import { digest, digestSize, type HashName } from "./hash.ts";
import { decryptCfb, encryptCfb, kdfA } from "./kdf.ts";
import { TpmWriter } from "./marshal.ts";

/**
 * A session with a TPM (Part 1, section 19.6): a key that both know because the salt was encrypted to a key of that TPM. Commands
 * and answers carry an HMAC under it, and their first parameter is encrypted, so that who reads the bus or the socket learns no
 * secret and who changes it is noticed. AES-128 in CFB mode.
 */
export interface TpmSession {
  readonly handle: number;
  readonly kind: "hmac" | "policy";
  readonly hash: HashName;
  readonly key: Buffer;
  /** The TPM's latest nonce. */
  nonceTpm: Buffer;
}

/** How a session is used in one command. */
export interface SessionUse {
  session: TpmSession;
  /** The authorization value of what it authorizes the use of, where that has one. */
  authValue?: Uint8Array;
  /** Encrypt the command's first parameter. */
  encryptCommand?: boolean;
  /** Have the TPM encrypt its answer's first parameter. */
  encryptAnswer?: boolean;
}

export const NONCE_BYTES = 16;
const AES_BITS = 128;
const IV_BITS = 128;

/** The key of a salted session that is bound to no object. */
export function sessionKey(hash: HashName, salt: Uint8Array, nonceTpm: Uint8Array, nonceCaller: Uint8Array): Buffer {
  return kdfA(hash, salt, "ATH", nonceTpm, nonceCaller, digestSize(hash) * 8);
}

/**
 * One command under one session. Few things here have authorization values: mostly the session's own key is all there is to know. First
 * `protect`, then `authorization`, then, on the answer, `open`.
 */
export class SessionExchange {
  readonly #use: SessionUse;
  readonly #nonceCaller: Buffer;

  constructor(use: SessionUse, random: RandomBytes) {
    this.#use = use;
    this.#nonceCaller = Buffer.from(random(NONCE_BYTES));
  }

  /** The command's parameters as they go over the wire. */
  protect(parameters: Buffer): Buffer {
    const { session, encryptCommand } = this.#use;
    if (encryptCommand !== true) return parameters;
    const [key, iv] = this.#cipher(this.#nonceCaller, session.nonceTpm);
    return overFirstSized(parameters, (plain) => encryptCfb(key, iv, plain));
  }

  /** TPMS_AUTH_COMMAND (Part 2, section 10.13.2) over these names and protected parameters. */
  authorization(command: CommandCode, names: readonly Uint8Array[], parameters: Uint8Array): Buffer {
    const { session } = this.#use;
    const code = new TpmWriter().u32(command).done();
    const attributes = this.#attributes();
    const mac = createHmac(session.hash, this.#key())
      .update(digest(session.hash, code, ...names, parameters))
      .update(this.#nonceCaller)
      .update(session.nonceTpm)
      .update(Uint8Array.of(attributes))
      .digest();
    return new TpmWriter().u32(session.handle).sized(this.#nonceCaller).u8(attributes).sized(mac).done();
  }

  /** The answer's parameters in clear. @throws TpmChannelError when the HMAC is not by the TPM that the session is with. */
  open(
    command: CommandCode,
    parameters: Buffer,
    answer: { nonceTpm: Buffer; attributes: number; mac: Buffer },
  ): Buffer {
    const { session, encryptAnswer } = this.#use;
    const { nonceTpm, attributes, mac } = answer;
    const success = new TpmWriter().u32(0).u32(command).done();
    const expected = createHmac(session.hash, this.#key())
      .update(digest(session.hash, success, parameters))
      .update(nonceTpm)
      .update(this.#nonceCaller)
      .update(Uint8Array.of(attributes))
      .digest();
    if (!equalSecrets(mac, expected)) {
      throw new TpmChannelError(
        "the answer is not by the TPM that the session was opened with: something in between changed it",
      );
    }
    session.nonceTpm = nonceTpm;
    if (encryptAnswer !== true) return parameters;
    const [key, iv] = this.#cipher(nonceTpm, this.#nonceCaller);
    return overFirstSized(parameters, (cipher) => decryptCfb(key, iv, cipher));
  }

  #attributes(): number {
    const { encryptCommand, encryptAnswer } = this.#use;
    return (
      sessionAttribute.continueSession |
      (encryptCommand === true ? sessionAttribute.decrypt : 0) |
      (encryptAnswer === true ? sessionAttribute.encrypt : 0)
    );
  }

  /** Part 1, sections 19.6.5 and 21.3: the session's key, and behind it the authorization value. */
  #key(): Buffer {
    const { session, authValue } = this.#use;
    return authValue === undefined ? session.key : Buffer.concat([session.key, authValue]);
  }

  /** Part 1, section 21.3: the nonce of who encrypts comes first. */
  #cipher(newer: Uint8Array, older: Uint8Array): [key: Buffer, iv: Buffer] {
    const made = kdfA(this.#use.session.hash, this.#key(), "CFB", newer, older, AES_BITS + IV_BITS);
    return [made.subarray(0, AES_BITS / 8), made.subarray(AES_BITS / 8)];
  }
}

/** Replaces the contents of the TPM2B that the parameters begin with, in a buffer of its own. */
function overFirstSized(parameters: Buffer, change: (contents: Buffer) => Buffer): Buffer {
  const end = 2 + parameters.readUInt16BE();
  if (end > parameters.length) throw new TpmChannelError("the answer's first parameter is longer than the answer");
  const changed = Buffer.from(parameters);
  const contents = change(parameters.subarray(2, end));
  changed.set(contents, 2);
  contents.fill(0);
  return changed;
}
