/** GUIDs of the GHCB specification (56421, section 4.1.8.1), as their 16 bytes stand in the table. */
const guids = {
  vcek: "63da758de6644564adc5f4b93be8accd",
  vlek: "a8074bc2a25a483eaae639c045a0b8a1",
  ask: "4ab7b379bbac4fe4a02f05aef327c782",
  ark: "c0b406a4a803495297433fb6014cd0ae",
} as const;

const ENTRY_BYTES = 24;
const MAX_ENTRIES = 16;
const END = "0".repeat(32);

/**
 * The certificates that a SEV-SNP host hands to its guest: those of the report's key, of what signed it and of the root, in this
 * order. `undefined` where the table is empty or has not all three. Nothing of it is believed here: the verifier does that.
 */
export function certificateTable(table: Buffer): [Buffer, Buffer, Buffer] | undefined {
  const found = new Map<string, Buffer>();
  for (let entry = 0; entry < MAX_ENTRIES && (entry + 1) * ENTRY_BYTES <= table.length; entry++) {
    const at = entry * ENTRY_BYTES;
    const guid = table.toString("hex", at, at + 16);
    if (guid === END) break;
    const [offset, length] = [table.readUInt32LE(at + 16), table.readUInt32LE(at + 20)];
    if (offset + length <= table.length) found.set(guid, table.subarray(offset, offset + length));
  }
  const [leaf, ask, ark] = [found.get(guids.vcek) ?? found.get(guids.vlek), found.get(guids.ask), found.get(guids.ark)];
  return leaf && ask && ark ? [leaf, ask, ark] : undefined;
}
