import { constants, createDecipheriv, type KeyObject, privateDecrypt } from "node:crypto";

/** What a KMS answers an attested recipient with is not the one shape that it documents, or not for this key. */
export class EnvelopeRefused extends Error {
  override readonly name = "EnvelopeRefused";
}

const OID = {
  envelopedData: "2a864886f70d010703",
  data: "2a864886f70d010701",
  rsaesOaep: "2a864886f70d010107",
  mgf1: "2a864886f70d010108",
  sha256: "608648016503040201",
  aes256Cbc: "60864801650304012a",
};

/**
 * Opens CMS EnvelopedData (RFC 5652 section 6) in the shape that AWS KMS gives in `CiphertextForRecipient`: one recipient named by a
 * subject key identifier, RSAES-OAEP with SHA-256 (RFC 4055 section 4.1), AES-256-CBC. It comes in BER, with indefinite lengths and octet strings
 * in pieces. CBC does not authenticate: the caller has to find out by other means whether what comes out is what went in.
 * The caller zeroes the result. @throws EnvelopeRefused
 */
export function openEnvelopedData(bytes: Uint8Array, privateKey: KeyObject): Buffer {
  const [contentType, wrapped] = sequence(readBer(bytes));
  oid(contentType, OID.envelopedData);
  const [version, recipients, encrypted, ...more] = sequence(only(constructed(wrapped, 0xa0)));
  small(version, 2);
  if (more.length > 0) throw new EnvelopeRefused("the envelope has attributes");
  const [recipientVersion, , algorithm, encryptedKey] = sequence(only(constructed(recipients, 0x31)));
  small(recipientVersion, 2);
  requireOaepSha256(algorithm);
  const [type, cipher, ciphertext] = sequence(encrypted);
  oid(type, OID.data);
  const [cipherOid, iv] = sequence(cipher);
  oid(cipherOid, OID.aes256Cbc);

  const key = decrypted("its key", () =>
    privateDecrypt(
      { key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" },
      octets(encryptedKey, 0x04),
    ),
  );
  try {
    return decrypted("its content", () => {
      const decipher = createDecipheriv("aes-256-cbc", key, octets(iv, 0x04));
      const first = decipher.update(octets(ciphertext, 0x80));
      const last = decipher.final();
      const plaintext = Buffer.concat([first, last]);
      first.fill(0);
      last.fill(0);
      return plaintext;
    });
  } finally {
    key.fill(0);
  }
}

/** SHA-256 for the label's hash and for the mask: SHA-1, which is what absent parameters stand for, is refused. */
function requireOaepSha256(algorithm: Ber | undefined): void {
  const [name, parameters] = sequence(algorithm);
  oid(name, OID.rsaesOaep);
  const [hash, mask] = sequence(parameters);
  oid(sequence(only(constructed(hash, 0xa0)))[0], OID.sha256);
  const [maskName, maskHash] = sequence(only(constructed(mask, 0xa1)));
  oid(maskName, OID.mgf1);
  oid(sequence(maskHash)[0], OID.sha256);
}

/** Whoever sends envelopes must not learn more of why one does not open than that it does not. */
function decrypted(what: string, decrypt: () => Buffer): Buffer {
  try {
    return decrypt();
  } catch {
    throw new EnvelopeRefused(`the envelope is not for this key: ${what} cannot be decrypted`);
  }
}

/** One value in BER (X.690 section 8), read whole: the parts of a constructed one are its children. */
interface Ber {
  tag: number;
  content: Buffer;
  children: readonly Ber[];
}

const MAX_DEPTH = 12;

function readBer(bytes: Uint8Array): Ber {
  const buffer = Buffer.from(bytes);
  const { value, end } = readAt(buffer, 0, 0);
  if (end !== buffer.length) throw malformed();
  return value;
}

function readAt(bytes: Buffer, start: number, depth: number): { value: Ber; end: number } {
  const [tag, first] = [bytes[start], bytes[start + 1]];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f || depth > MAX_DEPTH) throw malformed();
  const isConstructed = (tag & 0x20) !== 0;
  let offset = start + 2;
  if (first === 0x80) {
    if (!isConstructed) throw malformed();
    const children: Ber[] = [];
    for (;;) {
      if (bytes[offset] === 0 && bytes[offset + 1] === 0) break;
      const { value, end } = readAt(bytes, offset, depth + 1);
      children.push(value);
      offset = end;
    }
    return { value: { tag, content: Buffer.alloc(0), children }, end: offset + 2 };
  }
  let length = first;
  if (first > 0x80) {
    const count = first & 0x7f;
    if (count > 3 || offset + count > bytes.length) throw malformed();
    length = bytes.readUIntBE(offset, count);
    offset += count;
  }
  const end = offset + length;
  if (end > bytes.length) throw malformed();
  if (!isConstructed) return { value: { tag, content: bytes.subarray(offset, end), children: [] }, end };
  const within = bytes.subarray(0, end);
  const children: Ber[] = [];
  while (offset < end) {
    const child = readAt(within, offset, depth + 1);
    children.push(child.value);
    offset = child.end;
  }
  return { value: { tag, content: Buffer.alloc(0), children }, end };
}

function constructed(value: Ber | undefined, tag: number): readonly Ber[] {
  if (value?.tag !== tag) throw malformed();
  return value.children;
}

function sequence(value: Ber | undefined): readonly Ber[] {
  return constructed(value, 0x30);
}

function only(values: readonly Ber[]): Ber {
  const [value, ...others] = values;
  if (value === undefined || others.length > 0) throw malformed();
  return value;
}

/** An OCTET STRING, in one piece or in several; an implicit tag stands for it where it has one. */
function octets(value: Ber | undefined, tag: number): Buffer {
  if (value?.tag === tag) return value.content;
  const pieces = constructed(value, tag | 0x20);
  return Buffer.concat(pieces.map((piece) => octets(piece, 0x04)));
}

function oid(value: Ber | undefined, expected: string): void {
  if (value?.tag !== 0x06) throw malformed();
  const found = value.content.toString("hex");
  if (found !== expected) throw new EnvelopeRefused("the envelope uses an algorithm or a type that was not asked for");
}

function small(value: Ber | undefined, expected: number): void {
  if (value?.tag !== 0x02) throw malformed();
  if (value.content.length !== 1 || value.content[0] !== expected) {
    throw new EnvelopeRefused("the envelope has a version that is not known");
  }
}

function malformed(): EnvelopeRefused {
  return new EnvelopeRefused("the envelope is not CMS EnvelopedData of the documented shape");
}
