import { createPublicKey, type KeyObject } from "node:crypto";

import { algorithm } from "./constants.ts";
import { digest, hashNumber, hashOfNumber, type HashName, MAX_DIGEST } from "./hash.ts";
import { TpmReader, TpmWriter } from "./marshal.ts";

/** TPMT_PUBLIC (Part 2, section 12.2.4): what is public of a key or of sealed data. */
export type TpmPublic = EccPublic | RsaPublic | KeyedHashPublic;

interface PublicCommon {
  /** The hash that the object's name is made with. */
  nameHash: HashName;
  /** TPMA_OBJECT, see `objectAttribute`. */
  attributes: number;
  /** The digest of the policy that opens it; empty: none. */
  authPolicy: Uint8Array;
}

export interface EccPublic extends PublicCommon {
  type: "ecc";
  /** For storage keys: AES in CFB mode with so many bits. */
  aesBits?: number;
  scheme?: { name: "ecdsa"; hash: HashName };
  curve: CurveName;
  x: Uint8Array;
  y: Uint8Array;
}

export interface RsaPublic extends PublicCommon {
  type: "rsa";
  aesBits?: number;
  scheme?: { name: "rsassa" | "rsapss"; hash: HashName };
  bits: number;
  /** 0 stands for 65537. */
  exponent: number;
  modulus: Uint8Array;
}

/** Sealed data, or an HMAC key. */
export interface KeyedHashPublic extends PublicCommon {
  type: "keyed-hash";
  scheme?: { name: "hmac"; hash: HashName };
  unique: Uint8Array;
}

export type CurveName = "P-256" | "P-384";

export const curves: Readonly<Record<CurveName, { number: number; node: string; size: number }>> = {
  "P-256": { number: 0x0003, node: "prime256v1", size: 32 },
  "P-384": { number: 0x0004, node: "secp384r1", size: 48 },
};

const MAX_RSA_BYTES = 512;

/** @throws TpmFormatError; what it takes marshals back to the same bytes. */
export function parsePublic(bytes: Uint8Array): TpmPublic {
  return TpmReader.whole(bytes, "the public area", (reader) => {
    const type = reader.u16();
    const common = {
      nameHash: readHash(reader),
      attributes: reader.u32(),
      authPolicy: reader.sized(MAX_DIGEST),
    };
    switch (type) {
      case algorithm.ecc:
        return { type: "ecc", ...common, ...readEcc(reader) };
      case algorithm.rsa:
        return { type: "rsa", ...common, ...readRsa(reader) };
      case algorithm.keyedHash:
        return { type: "keyed-hash", ...common, ...readKeyedHash(reader) };
      default:
        throw reader.wrong(`is of an unknown type 0x${type.toString(16)}`);
    }
  });
}

export function marshalPublic(area: TpmPublic): Buffer {
  const types = { ecc: algorithm.ecc, rsa: algorithm.rsa, "keyed-hash": algorithm.keyedHash };
  const writer = new TpmWriter()
    .u16(types[area.type])
    .u16(hashNumber(area.nameHash))
    .u32(area.attributes)
    .sized(area.authPolicy);
  switch (area.type) {
    case "ecc":
      writeAes(writer, area.aesBits);
      writeScheme(writer, area.scheme);
      return writer.u16(curves[area.curve].number).u16(algorithm.null).sized(area.x).sized(area.y).done();
    case "rsa":
      writeAes(writer, area.aesBits);
      writeScheme(writer, area.scheme);
      return writer.u16(area.bits).u32(area.exponent).sized(area.modulus).done();
    case "keyed-hash":
      writeScheme(writer, area.scheme);
      return writer.sized(area.unique).done();
  }
}

/** The object's name: its hash's number and the digest of its public area (Part 1, section 16). Two objects never share one. */
export function nameOf(area: TpmPublic): Buffer {
  return new TpmWriter()
    .u16(hashNumber(area.nameHash))
    .bytes(digest(area.nameHash, marshalPublic(area)))
    .done();
}

/** The public key for node:crypto. @throws TpmFormatError for sealed data, and for a point that is on no curve. */
export function publicKeyOf(area: TpmPublic): KeyObject {
  const url = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64url");
  try {
    switch (area.type) {
      case "ecc": {
        const { size } = curves[area.curve];
        const [x, y] = [url(padLeft(area.x, size)), url(padLeft(area.y, size))];
        return createPublicKey({ format: "jwk", key: { kty: "EC", crv: area.curve, x, y } });
      }
      case "rsa": {
        const exponent = new TpmWriter().u32(area.exponent === 0 ? 65537 : area.exponent).done();
        const e = url(exponent.subarray(exponent.findIndex((byte) => byte !== 0)));
        return createPublicKey({ format: "jwk", key: { kty: "RSA", n: url(area.modulus), e } });
      }
      case "keyed-hash":
        break;
    }
  } catch {
    throw new TpmReader(new Uint8Array(), "the public area").wrong("holds no public key that can be used");
  }
  throw new TpmReader(new Uint8Array(), "the public area").wrong("is of data that has no public key");
}

export function hasAttributes(area: TpmPublic, attributes: number): boolean {
  return (area.attributes & attributes) === attributes;
}

/** TPMs leave out leading zeros of a coordinate, or do not. */
export function padLeft(bytes: Uint8Array, size: number): Buffer {
  return Buffer.concat([Buffer.alloc(size - bytes.length), bytes]);
}

function readEcc(reader: TpmReader): Pick<EccPublic, "aesBits" | "scheme" | "curve" | "x" | "y"> {
  const aesBits = readAes(reader);
  const scheme = readScheme(reader, { ecdsa: algorithm.ecdsa });
  const number = reader.u16();
  const curve = (Object.keys(curves) as CurveName[]).find((name) => curves[name].number === number);
  if (curve === undefined) throw reader.wrong(`is on an unknown curve 0x${number.toString(16)}`);
  if (reader.u16() !== algorithm.null) throw reader.wrong("names a key derivation scheme where none may stand");
  const { size } = curves[curve];
  return {
    ...(aesBits !== undefined && { aesBits }),
    ...(scheme && { scheme }),
    curve,
    x: reader.sized(size),
    y: reader.sized(size),
  };
}

function readRsa(reader: TpmReader): Pick<RsaPublic, "aesBits" | "scheme" | "bits" | "exponent" | "modulus"> {
  const aesBits = readAes(reader);
  const scheme = readScheme(reader, { rsassa: algorithm.rsassa, rsapss: algorithm.rsapss });
  return {
    ...(aesBits !== undefined && { aesBits }),
    ...(scheme && { scheme }),
    bits: reader.u16(),
    exponent: reader.u32(),
    modulus: reader.sized(MAX_RSA_BYTES),
  };
}

function readKeyedHash(reader: TpmReader): Pick<KeyedHashPublic, "scheme" | "unique"> {
  const scheme = readScheme(reader, { hmac: algorithm.hmac });
  return { ...(scheme && { scheme }), unique: reader.sized(MAX_DIGEST) };
}

function readHash(reader: TpmReader): HashName {
  const number = reader.u16();
  const hash = hashOfNumber(number);
  if (hash === undefined) throw reader.wrong(`names an unknown hash 0x${number.toString(16)}`);
  return hash;
}

function readAes(reader: TpmReader): number | undefined {
  const cipher = reader.u16();
  if (cipher === algorithm.null) return undefined;
  if (cipher !== algorithm.aes) throw reader.wrong(`names an unknown cipher 0x${cipher.toString(16)}`);
  const bits = reader.u16();
  if (reader.u16() !== algorithm.cfb) throw reader.wrong("names another cipher mode than CFB");
  return bits;
}

function writeAes(writer: TpmWriter, bits: number | undefined): void {
  if (bits === undefined) writer.u16(algorithm.null);
  else writer.u16(algorithm.aes).u16(bits).u16(algorithm.cfb);
}

function readScheme<N extends string>(
  reader: TpmReader,
  known: Readonly<Record<N, number>>,
): { name: N; hash: HashName } | undefined {
  const number = reader.u16();
  if (number === algorithm.null) return undefined;
  const name = (Object.keys(known) as N[]).find((candidate) => known[candidate] === number);
  if (name === undefined) throw reader.wrong(`names an unknown scheme 0x${number.toString(16)}`);
  return { name, hash: readHash(reader) };
}

function writeScheme(
  writer: TpmWriter,
  scheme: { name: "ecdsa" | "rsassa" | "rsapss" | "hmac"; hash: HashName } | undefined,
): void {
  if (scheme === undefined) writer.u16(algorithm.null);
  else writer.u16(algorithm[scheme.name]).u16(hashNumber(scheme.hash));
}
