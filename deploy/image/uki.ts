/** What a unified kernel image holds. */
export interface UkiSections {
  linux: Uint8Array;
  osrel: Uint8Array;
  cmdline: Uint8Array;
  initrd: Uint8Array;
}

/** In the file, the kernel comes last: it unpacks itself over what follows it in memory. */
const LAID_OUT = ["osrel", "cmdline", "initrd", "linux"] as const;

const SECTION_HEADER = 40;
const ALIGN_FILE = 512;
/** Pages: the firmware maps sections by them. */
const ALIGN_MEMORY = 4096;
/** IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ */
const READABLE_DATA = 0x40000040;

/**
 * Adds the sections to a systemd stub (`linuxx64.efi.stub`), which makes one EFI program of it. The same input gives the same bytes: the
 * time stamp and the checksum of the PE header are zero.
 * @throws Error when the stub is no PE image for x86-64, or has no room for the sections' headers
 */
export function assembleUki(stub: Uint8Array, sections: UkiSections): Buffer {
  const header = Buffer.from(stub);
  const pe = header.readUInt32LE(0x3c);
  if (header.toString("latin1", pe, pe + 4) !== "PE\0\0" || header.readUInt16LE(pe + 4) !== 0x8664) {
    throw new Error("the stub is not an EFI program for x86-64");
  }
  const count = header.readUInt16LE(pe + 6);
  const optional = pe + 24;
  const table = optional + header.readUInt16LE(pe + 20);
  const end = table + (count + LAID_OUT.length) * SECTION_HEADER;
  if (end > header.readUInt32LE(optional + 60)) throw new Error("the stub has no room for more sections");

  let inMemory = 0;
  for (let each = 0; each < count; each++) {
    const at = table + each * SECTION_HEADER;
    inMemory = Math.max(inMemory, header.readUInt32LE(at + 8) + header.readUInt32LE(at + 12));
  }
  const parts: Buffer[] = [padded(header, ALIGN_FILE)];
  let inFile = align(header.length, ALIGN_FILE);
  for (const [each, name] of LAID_OUT.entries()) {
    const content = sections[name];
    const start = align(inMemory, ALIGN_MEMORY);
    const sizeInFile = align(content.length, ALIGN_FILE);
    const at = table + (count + each) * SECTION_HEADER;
    header.fill(0, at, at + SECTION_HEADER);
    header.write(`.${name}`, at, 8, "latin1");
    for (const [offset, value] of [
      [8, content.length],
      [12, start],
      [16, sizeInFile],
      [20, inFile],
      [36, READABLE_DATA],
    ] as const) {
      header.writeUInt32LE(value, at + offset);
    }
    parts.push(padded(Buffer.from(content), ALIGN_FILE));
    inMemory = start + content.length;
    inFile += sizeInFile;
  }
  header.writeUInt16LE(count + LAID_OUT.length, pe + 6);
  header.writeUInt32LE(0, pe + 8); // TimeDateStamp
  header.writeUInt32LE(align(inMemory, ALIGN_MEMORY), optional + 56); // SizeOfImage
  header.writeUInt32LE(0, optional + 64); // CheckSum
  parts[0] = padded(header, ALIGN_FILE);
  return Buffer.concat(parts);
}

function align(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}

function padded(bytes: Buffer, to: number): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(align(bytes.length, to) - bytes.length)]);
}
