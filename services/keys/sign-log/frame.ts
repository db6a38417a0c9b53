import { encodeBundle, parseBundle } from "@agentkeys/lib/tlog";

/**
 * What one commit adds to the journal: entries, and the checkpoint of the log that ends with them. It is written at once, and
 * the checkpoint's signature covers every entry before it: a frame that was torn, or is not ours, cannot pass for one.
 *
 *     u32 length of the bundle | u32 length of the checkpoint | u16 number of entries | bundle | checkpoint
 */
export interface Frame {
  entries: readonly Uint8Array[];
  checkpoint: string;
}

const HEADER_LENGTH = 10;

export function encodeFrame({ entries, checkpoint }: Frame): Uint8Array {
  const [bundle, note] = [encodeBundle(entries), Buffer.from(checkpoint)];
  const header = Buffer.alloc(HEADER_LENGTH);
  header.writeUInt32BE(bundle.length, 0);
  header.writeUInt32BE(note.length, 4);
  header.writeUInt16BE(entries.length, 8);
  return Buffer.concat([header, bundle, note]);
}

/** The frame at `start`, and where it ends; undefined where there is no whole frame. */
export function decodeFrame(journal: Buffer, start: number): (Frame & { end: number }) | undefined {
  const body = start + HEADER_LENGTH;
  if (body > journal.length) return undefined;
  const note = body + journal.readUInt32BE(start);
  const end = note + journal.readUInt32BE(start + 4);
  const count = journal.readUInt16BE(start + 8);
  if (end > journal.length || count === 0) return undefined;
  try {
    const entries = parseBundle(journal.subarray(body, note), count);
    return { entries, checkpoint: journal.toString("utf8", note, end), end };
  } catch {
    return undefined;
  }
}
