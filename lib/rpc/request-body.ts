import type { DescMessage } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { compressedFlag, encodeEnvelope, type EnvelopedMessage } from "@connectrpc/connect/protocol";

import { ErrorReason } from "../failure.ts";
import { assertDecodable } from "./decodable.ts";
import { refusal } from "./wire-error.ts";
import type { WireFormat } from "./wire-format.ts";

export interface BodyRules {
  format: Pick<WireFormat, "enveloped" | "codec">;
  /** The compression that the request names, if any. */
  encoding: string | undefined;
  input: DescMessage;
  /** Whether exactly one message is due, as in all but client and bidirectional streams. */
  single: boolean;
  maxBytes: number;
}

const compressions = [compressionGzip, compressionBrotli];

/**
 * A request body as Connect gets to see it: within the size limit, decompressed, whole, and decodable. What is not throws an error of ours
 * while Connect reads, which Connect then writes as the call's protocol wants; so that every protocol answers the same.
 */
export async function* checkedBody(source: AsyncIterable<Uint8Array>, rules: BodyRules): AsyncIterable<Uint8Array> {
  const { input, encoding, maxBytes } = rules;
  const { codec, enveloped } = rules.format;
  if (!enveloped) {
    const message = await openBody(source, encoding, maxBytes);
    assertDecodable(input, codec, message);
    yield message;
    return;
  }
  const compression = compressionNamed(encoding);
  let count = 0;
  for await (const { flags, data } of envelopes(source, maxBytes)) {
    count += 1;
    if (rules.single && count > 1) throw broken("has more than one message");
    if ((flags & ~compressedFlag) !== 0) throw broken("has a message with unknown flags");
    const message = flags === compressedFlag ? await decompress(data, compression, maxBytes) : data;
    assertDecodable(input, codec, message);
    yield encodeEnvelope(0, message);
  }
  if (rules.single && count === 0) throw broken("has no message");
}

/** Reads and decompresses a body that is one message. */
export async function openBody(
  source: AsyncIterable<Uint8Array>,
  encoding: string | undefined,
  maxBytes: number,
): Promise<Uint8Array> {
  const compression = compressionNamed(encoding);
  const body = await readAll(source, maxBytes);
  return compression === undefined ? body : await decompress(body, compression, maxBytes);
}

/** Reads a whole body, or throws REQUEST_TOO_LARGE. */
export async function readAll(source: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of source) {
    length += chunk.byteLength;
    if (length > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/**
 * Takes envelopes apart: a flag byte, the length in four bytes, the message. Bytes are put together only once there are
 * enough of them; Connect's own looks through all of them at every chunk, which chunks of one byte make quadratic.
 */
async function* envelopes(source: AsyncIterable<Uint8Array>, maxBytes: number): AsyncIterable<EnvelopedMessage> {
  let chunks: Uint8Array[] = [];
  let length = 0;
  let needed = ENVELOPE_HEAD;
  for await (const chunk of source) {
    chunks.push(chunk);
    length += chunk.byteLength;
    while (length >= needed) {
      const bytes = joined(chunks);
      const end = ENVELOPE_HEAD + bytes.readUInt32BE(1);
      if (end > ENVELOPE_HEAD + maxBytes) throw tooLarge(maxBytes);
      const isWhole = length >= end;
      if (isWhole) yield { flags: bytes.readUInt8(0), data: bytes.subarray(ENVELOPE_HEAD, end) };
      const rest = isWhole ? bytes.subarray(end) : bytes;
      chunks = [rest];
      length = rest.byteLength;
      needed = isWhole ? ENVELOPE_HEAD : end;
    }
  }
  if (length > 0) throw broken("ends within a message");
}

const ENVELOPE_HEAD = 5;

/** One chunk is not copied: it may hold thousands of messages. */
function joined([first = new Uint8Array(), ...others]: readonly Uint8Array[]): Buffer {
  if (others.length > 0) return Buffer.concat([first, ...others]);
  return Buffer.from(first.buffer, first.byteOffset, first.byteLength);
}

function compressionNamed(encoding: string | undefined): typeof compressionGzip | undefined {
  if (encoding === undefined || encoding === "" || encoding === "identity") return undefined;
  const found = compressions.find(({ name }) => name === encoding);
  if (found !== undefined) return found;
  throw refusal(ErrorReason.INVALID_REQUEST, "The request's compression is not one of identity, gzip and br.");
}

async function decompress(
  data: Uint8Array,
  compression: typeof compressionGzip | undefined,
  maxBytes: number,
): Promise<Uint8Array> {
  if (compression === undefined) throw broken("has a compressed message but names no compression");
  try {
    return await compression.decompress(data, maxBytes);
  } catch (error) {
    if (ConnectError.from(error).code === Code.ResourceExhausted) throw tooLarge(maxBytes);
    throw broken("cannot be decompressed");
  }
}

function tooLarge(maxBytes: number): ConnectError {
  return refusal(ErrorReason.REQUEST_TOO_LARGE, `The request is larger than ${maxBytes} bytes.`);
}

function broken(how: string): ConnectError {
  return refusal(ErrorReason.INVALID_REQUEST, `The request body ${how}.`);
}
