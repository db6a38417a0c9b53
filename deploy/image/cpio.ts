/** A file, folder or device node of an initial RAM disk. */
export interface CpioEntry {
  /** Without a leading slash. */
  path: string;
  /** File type and permissions, as in `st_mode`: 0o100755, 0o040755 … */
  mode: number;
  content?: Uint8Array;
  /** Major and minor number of a device node. */
  device?: readonly [number, number];
}

/**
 * A cpio archive in the kernel's "newc" form (Documentation/driver-api/early-userspace/buffer-format.rst). The same entries always give the
 * same bytes: owner, times and inode numbers say nothing of the machine that built it.
 */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : 1));
  const parts = sorted.flatMap((entry, index) => member(entry, index + 1));
  return Buffer.concat([...parts, ...member({ path: "TRAILER!!!", mode: 0 }, 0)]);
}

function member({ path, mode, content = new Uint8Array(), device: [major, minor] = [0, 0] }: CpioEntry, inode: number) {
  const name = Buffer.from(`${path}\0`);
  const links = mode === 0 ? 1 : (mode & 0o170000) === 0o040000 ? 2 : 1;
  const [owner, group, time, onMajor, onMinor, check] = [0, 0, 0, 0, 0, 0];
  const fields = [inode, mode, owner, group, links, time, content.length, onMajor, onMinor, major, minor, name.length];
  const header = `070701${[...fields, check].map((field) => field.toString(16).toUpperCase().padStart(8, "0")).join("")}`;
  return [padded(Buffer.concat([Buffer.from(header), name])), padded(Buffer.from(content))];
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}
