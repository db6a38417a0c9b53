import { createSocket } from "node:dgram";

/** A name server for machines that find this one's loopback at the address of their resolver. */
export interface NameServer {
  /** The names that it was asked for. */
  readonly asked: Set<string>;
  close(): void;
}

/**
 * Answers with these IPv4 addresses, and that there are no others (RFC 1035). `undefined` where port 53 cannot be had: a resolver's
 * configuration has no place for another.
 */
export function startNameServer(names: Readonly<Record<string, string>>): Promise<NameServer | undefined> {
  const asked = new Set<string>();
  const socket = createSocket("udp4");
  socket.on("message", (query, from) => {
    const { name, end } = questionOf(query);
    asked.add(name);
    const address = query.readUInt16BE(end - 4) === 1 ? names[name] : undefined;
    const header = Buffer.alloc(12);
    header.writeUInt16BE(query.readUInt16BE(0));
    // An answer, authoritative, recursion as it was asked for and available.
    header.writeUInt16BE(0x8480 | (query.readUInt16BE(2) & 0x0100), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(address === undefined ? 0 : 1, 6);
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...(address ?? "").split(".").map(Number)]);
    const parts = [header, query.subarray(12, end), ...(address === undefined ? [] : [record])];
    socket.send(Buffer.concat(parts), from.port, from.address);
  });
  return new Promise((resolve) => {
    socket.once("error", () => resolve(undefined));
    socket.bind(53, "127.0.0.1", () => resolve({ asked, close: () => socket.close() }));
  });
}

/** The first question's name, and where it ends. */
function questionOf(query: Buffer): { name: string; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length).toLowerCase());
    at += 1 + length;
  }
  return { name: labels.join("."), end: at + 5 };
}
