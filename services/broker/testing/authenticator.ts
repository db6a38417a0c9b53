import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

import type {
  PublicKeyCredentialCreationOptionsJSON,
  PublicKeyCredentialRequestOptionsJSON,
} from "@simplewebauthn/server";
import { isoCBOR } from "@simplewebauthn/server/helpers";

/** What a forger, or a broken authenticator, says instead of the truth. */
export interface Lies {
  type?: string;
  challenge?: string;
  origin?: string;
  crossOrigin?: boolean;
  rpId?: string;
  userPresent?: boolean;
  userVerified?: boolean;
  counter?: number;
  /** The id of another passkey. */
  credentialId?: string;
  /** Of the attestation. */
  format?: string;
  statement?: Map<string, unknown>;
  /** Signs something else. */
  tampered?: boolean;
}

/** A passkey in software, at a browser that believes whatever it is told: what a page gets back from `navigator.credentials`. */
export interface SoftPasskey {
  readonly credentialId: string;
  /** How often it has signed; tests set it back. */
  counter: number;
  create(options: PublicKeyCredentialCreationOptionsJSON, lies?: Lies): object;
  get(options: PublicKeyCredentialRequestOptionsJSON, lies?: Lies): object;
}

/** COSE algorithm numbers. */
export type Algorithm = -7 | -8 | -257;

export function createSoftPasskey({ origin, algorithm = -7 }: { origin: string; algorithm?: Algorithm }): SoftPasskey {
  const { privateKey, publicKey } = keyPair(algorithm);
  const rpId = new URL(origin).hostname;

  const clientData = (type: string, challenge: string, lies: Lies): Buffer =>
    Buffer.from(
      JSON.stringify({
        type: lies.type ?? type,
        challenge: lies.challenge ?? challenge,
        origin: lies.origin ?? origin,
        crossOrigin: lies.crossOrigin ?? false,
      }),
    );
  /** WebAuthn Level 3 section 6.1. */
  const authenticatorData = (lies: Lies, attested: Buffer = Buffer.alloc(0)): Buffer => {
    passkey.counter++;
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(lies.counter ?? passkey.counter);
    const flags = (lies.userPresent === false ? 0 : 0x01) | (lies.userVerified === false ? 0 : 0x04);
    const rpIdHash = createHash("sha256")
      .update(lies.rpId ?? rpId)
      .digest();
    return Buffer.concat([rpIdHash, Buffer.of(flags | (attested.length > 0 ? 0x40 : 0)), counter, attested]);
  };
  const answer = (lies: Lies, response: Record<string, Buffer>, more: object = {}): object => {
    const id = lies.credentialId ?? passkey.credentialId;
    const text = Object.entries(response).map(([name, bytes]) => [name, bytes.toString("base64url")]);
    const fields = Object.fromEntries(text) as Record<string, string>;
    return { id, rawId: id, type: "public-key", response: { ...fields, ...more }, clientExtensionResults: {} };
  };

  const passkey: SoftPasskey = {
    credentialId: randomBytes(32).toString("base64url"),
    counter: 0,
    create: ({ challenge }, lies = {}) => {
      const id = Buffer.from(lies.credentialId ?? passkey.credentialId, "base64url");
      const length = Buffer.alloc(2);
      length.writeUInt16BE(id.length);
      const attested = Buffer.concat([Buffer.alloc(16), length, id, coseKey(publicKey, algorithm)]);
      const attestation = new Map<string, unknown>([
        ["fmt", lies.format ?? "none"],
        ["attStmt", lies.statement ?? new Map()],
        ["authData", Uint8Array.from(authenticatorData(lies, attested))],
      ]);
      return answer(
        lies,
        {
          clientDataJSON: clientData("webauthn.create", challenge, lies),
          attestationObject: Buffer.from(isoCBOR.encode(attestation as never)),
        },
        { transports: ["internal"] },
      );
    },
    get: ({ challenge }, lies = {}) => {
      const clientDataJSON = clientData("webauthn.get", challenge, lies);
      const authData = authenticatorData(lies);
      const signed = Buffer.concat([authData, createHash("sha256").update(clientDataJSON).digest()]);
      if (lies.tampered === true) signed.reverse();
      const signature = sign(algorithm === -8 ? null : "sha256", signed, privateKey);
      return answer(lies, { clientDataJSON, authenticatorData: authData, signature });
    },
  };
  return passkey;
}

function keyPair(algorithm: Algorithm): { privateKey: KeyObject; publicKey: KeyObject } {
  if (algorithm === -8) return generateKeyPairSync("ed25519");
  return algorithm === -257
    ? generateKeyPairSync("rsa", { modulusLength: 2048 })
    : generateKeyPairSync("ec", { namedCurve: "P-256" });
}

/** RFC 9053 section 7, RFC 8230 section 4. */
function coseKey(publicKey: KeyObject, algorithm: Algorithm): Buffer {
  const jwk = publicKey.export({ format: "jwk" });
  const bytes = (text: unknown): Uint8Array => Uint8Array.from(Buffer.from(String(text), "base64url"));
  const entries: Record<Algorithm, [number, number | Uint8Array][]> = {
    [-7]: [
      [1, 2],
      [3, -7],
      [-1, 1],
      [-2, bytes(jwk.x)],
      [-3, bytes(jwk.y)],
    ],
    [-8]: [
      [1, 1],
      [3, -8],
      [-1, 6],
      [-2, bytes(jwk.x)],
    ],
    [-257]: [
      [1, 3],
      [3, -257],
      [-1, bytes(jwk.n)],
      [-2, bytes(jwk.e)],
    ],
  };
  return Buffer.from(isoCBOR.encode(new Map(entries[algorithm]) as never));
}
