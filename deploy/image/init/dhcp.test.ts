import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "agentkeys-dhcp-"));
afterAll(() => rmSync(folder, { recursive: true }));
const driver = join(folder, "driver");
const SANITIZED = [
  "-g",
  "-O1",
  "-fsanitize=address,undefined",
  "-fno-sanitize-recover=all",
  "-Wall",
  "-Wextra",
  "-Werror",
];
const missing = ((): string | undefined => {
  writeFileSync(join(folder, "probe.c"), "int main(void) { return 0; }\n");
  const built = spawnSync("gcc", [...SANITIZED, "-o", join(folder, "probe"), join(folder, "probe.c")]);
  return built.status === 0 ? undefined : "gcc with its sanitizers";
})();
if (missing !== undefined && process.env["CI"] === "true") throw new Error(`the DHCP client's tests need ${missing}`);
if (missing !== undefined)
  process.stdout.write(`SKIPPED: the DHCP client is not tested here, for want of ${missing}\n`);

interface Outcome {
  state: "selecting" | "requesting" | "bound" | "renewing" | "rebinding";
  news: "" | "leased" | "lost";
  due: number;
  to?: string;
  packet?: string;
  lease?: Record<string, unknown>;
}

/** Runs the client through these commands, with every read and write of memory looked at. */
function run(commands: readonly string[]): Outcome[] {
  const input = commands.join("\n") + "\n";
  const out = execFileSync(driver, { input, encoding: "utf8", maxBuffer: 64 << 20 });
  return out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Outcome);
}

const last = (commands: readonly string[]): Outcome => run(commands).at(-1) as Outcome;

type Option = readonly [kind: number, value: readonly number[]];
const ip = (text: string): number[] => text.split(".").map(Number);
const u32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

const [OFFER, ACK, NAK] = [2, 5, 6];
/** What a cloud leases; a test replaces or adds options by their number. */
function options(type: number, changes: readonly Option[] = []): Option[] {
  const all = new Map<number, readonly number[]>([
    [53, [type]],
    [54, ip("10.0.2.2")],
    [1, ip("255.255.255.0")],
    [3, ip("10.0.2.2")],
    [6, [...ip("10.0.2.3"), ...ip("10.0.2.4")]],
    [51, u32(3600)],
  ]);
  for (const [kind, value] of changes) all.set(kind, value);
  return [...all].filter(([, value]) => value.length > 0);
}

interface Message {
  xid?: number;
  mac?: string;
  address?: string;
  options: readonly Option[];
  /** Instead of options: the field as it is, without the cookie. */
  raw?: readonly number[];
}

/** A server's packet, from the IP header on, with good checksums. */
function packet({ xid = 7, mac = "525400123456", address = "10.0.2.15", options: list, raw }: Message): Buffer {
  const bootp = Buffer.alloc(236);
  bootp.set([2, 1, 6, 0]);
  bootp.writeUInt32BE(xid, 4);
  bootp.set(ip(address), 16);
  bootp.write(mac, 28, "hex");
  const field = raw ?? [...list.flatMap(([kind, value]) => [kind, value.length, ...value]), 255];
  return withHeaders(Buffer.concat([bootp, Buffer.from([99, 130, 83, 99, ...field])]));
}

function withHeaders(payload: Buffer): Buffer {
  const bytes = Buffer.alloc(28 + payload.length);
  bytes.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, ...ip("10.0.2.2"), ...ip("255.255.255.255"), 0, 67, 0, 68]);
  bytes.writeUInt16BE(bytes.length, 2);
  bytes.writeUInt16BE(8 + payload.length, 24);
  bytes.set(payload, 28);
  return summed(bytes);
}

function summed(bytes: Buffer): Buffer {
  const sum = (part: Buffer, begin: number): number => {
    let total = begin;
    for (let at = 0; at < part.length; at++) total += (part[at] ?? 0) << (at % 2 === 0 ? 8 : 0);
    while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
    return ~total & 0xffff;
  };
  bytes.writeUInt16BE(0, 10);
  bytes.writeUInt16BE(sum(bytes.subarray(0, 20), 0), 10);
  const udp = bytes.subarray(20);
  udp.writeUInt16BE(0, 6);
  const pseudo = 17 + udp.length + [12, 14, 16, 18].reduce((total, at) => total + bytes.readUInt16BE(at), 0);
  udp.writeUInt16BE(sum(udp, pseudo), 6);
  return bytes;
}

const take = (now: number, bytes: Buffer, checked = 1): string => `take ${now} 0 ${checked} ${bytes.toString("hex")}`;
const offered = ["begin 100", "act 100 7", take(101, packet({ options: options(OFFER) }))];
const requested = [...offered, "act 101 8"];
const bound = (changes: readonly Option[] = []): string[] => [
  ...requested,
  take(102, packet({ options: options(ACK, changes) })),
];

/** The options of a packet that was sent. */
function sent(outcome: Outcome | undefined): Map<number, string> {
  const bytes = Buffer.from(outcome?.packet ?? "", "hex");
  const found = new Map<number, string>();
  for (let at = 240; bytes[at] !== 255; at += 2 + bytes.readUInt8(at + 1)) {
    found.set(bytes.readUInt8(at), bytes.toString("hex", at + 2, at + 2 + bytes.readUInt8(at + 1)));
  }
  return found;
}

describe.skipIf(missing !== undefined)("the image's DHCP client", () => {
  beforeAll(() => {
    execFileSync("gcc", [...SANITIZED, "-o", driver, "testing/dhcp-driver.c", "dhcp.c"], {
      cwd: import.meta.dirname,
      stdio: ["ignore", "ignore", "inherit"],
    });
  });

  test("asks everybody, takes the offer up with its server, and has a lease when that agrees", () => {
    const [, discover, , request, leased] = run(bound());
    expect(discover).toMatchObject({ to: "255.255.255.255", state: "selecting" });
    expect(sent(discover).get(53)).toBe("01");
    expect(discover?.packet).toHaveLength(600);
    expect(discover?.packet?.slice(8, 16)).toBe("00000007");
    expect(request).toMatchObject({ to: "255.255.255.255", state: "requesting" });
    expect([...sent(request)].filter(([kind]) => [50, 53, 54].includes(kind))).toEqual([
      [53, "03"],
      [50, "0a00020f"],
      [54, "0a000202"],
    ]);
    expect(leased).toEqual({
      state: "bound",
      news: "leased",
      // Half of an hour from when it was asked for.
      due: 101 + 1800,
      lease: {
        address: "10.0.2.15",
        mask: "255.255.255.0",
        router: "10.0.2.2",
        server: "10.0.2.2",
        resolvers: ["10.0.2.3", "10.0.2.4", "0.0.0.0"],
        ...{ seconds: 3600, renew: 1800, rebind: 3150, mtu: 0 },
      },
    });
  });

  test("takes what QEMU's server was seen to answer", () => {
    const answer = (type: number): Buffer => {
      const head = "451002400000000040116c9c0a000202ffffffff00430044022c00000201060000000007";
      const fields = "00000000000000000a00020f0a0002020000000052540012345600000000000000000000";
      const field = `63825363 3501${type.toString(16).padStart(2, "0")} 36040a000202 0104ffffff00 03040a000202 06040a000203 330400015180 ff`;
      const written = Buffer.from(head + fields + "00".repeat(192) + field.replaceAll(" ", ""), "hex");
      return summed(Buffer.concat([written, Buffer.alloc(576 - written.length)]));
    };
    expect(last(["begin 0", "act 0 7", take(0, answer(OFFER)), "act 0 8", take(0, answer(ACK))])).toMatchObject({
      news: "leased",
      lease: { address: "10.0.2.15", resolvers: ["10.0.2.3", "0.0.0.0", "0.0.0.0"], seconds: 86_400 },
    });
  });

  test("asks again after 4, 8, 16, 32 and 64 seconds, one more or less, and gives up on a server that is gone", () => {
    const waits = (begin: readonly string[], now: number): number[] => {
      const commands = [...begin];
      const found: number[] = [];
      for (let each = 0; each < 6; each++) {
        commands.push(`act ${now} ${each << 8}`);
        const { due } = last(commands);
        found.push(due - now);
        now = due;
      }
      return found;
    };
    expect(waits(["begin 0"], 0)).toEqual([3, 8, 17, 31, 64, 65]);
    // A new exchange begins where the fifth request would be.
    expect(waits(offered, 101)).toEqual([3, 8, 17, 31, 4, 9]);
    const abandoned = run([...offered, ..."101 104 112 129 160".split(" ").map((now) => `act ${now} 0`)]);
    expect(abandoned.at(-1)).toMatchObject({ state: "selecting" });
    expect(sent(abandoned.at(-1)).get(53)).toBe("01");
  });

  test("renews with its server at half time, with any at seven eighths, and goes without an address at the end", () => {
    const renewal = run([
      ...bound(),
      "act 1900 9",
      "act 1901 9",
      take(1902, packet({ xid: 9, options: options(ACK) })),
    ]);
    expect(renewal[5]?.packet).toBeUndefined();
    expect(renewal[6]).toMatchObject({ state: "renewing", to: "10.0.2.2", due: 1901 + (3251 - 1901) / 2 });
    expect(renewal[6]?.packet?.slice(24, 32)).toBe("0a00020f");
    expect([...sent(renewal[6]).keys()]).not.toContain(54);
    expect(renewal[7]).toMatchObject({ news: "leased", state: "bound", due: 1901 + 1800 });

    const alone = run([
      ...bound(),
      "act 1901 9",
      "act 2576 9",
      "act 3251 10",
      "act 3476 11",
      "act 3701 12",
      "act 3702 13",
    ]);
    expect(alone.slice(5).map(({ state, to, news }) => [state, to, news])).toEqual([
      ["renewing", "10.0.2.2", ""],
      ["renewing", "10.0.2.2", ""],
      ["rebinding", "255.255.255.255", ""],
      ["rebinding", "255.255.255.255", ""],
      ["selecting", undefined, "lost"],
      ["selecting", "255.255.255.255", ""],
    ]);
    const another = packet({ xid: 10, options: options(ACK, [[54, ip("10.0.2.9")]]) });
    expect(last([...bound(), "act 3251 10", take(3252, another)])).toMatchObject({ news: "leased", state: "bound" });
  });

  test("keeps to the server's own times where they make sense, and for ever where it says so", () => {
    const renewing = (changes: readonly Option[]): unknown => last(bound(changes)).lease;
    expect(renewing([[58, u32(60)], [59, u32(120)]])).toMatchObject({ renew: 60, rebind: 120 }); // prettier-ignore
    expect(renewing([[58, u32(3601)]])).toMatchObject({ renew: 1800, rebind: 3150 });
    expect(renewing([[58, u32(200)], [59, u32(100)]])).toMatchObject({ renew: 1800, rebind: 3150 }); // prettier-ignore
    const forever = [...bound([[51, u32(0xffffffff)]]), `act ${2 ** 40} 1`];
    expect(last(forever)).toMatchObject({ state: "bound", news: "" });
  });

  test("lets go of what its server takes back, and nobody else can", () => {
    const refusal = options(NAK, [[1, []], [3, []], [6, []], [51, []]]); // prettier-ignore
    expect(last([...requested, take(102, packet({ options: refusal }))])).toMatchObject({
      state: "selecting",
      news: "",
    });
    const renewing = [...bound(), "act 1901 9"];
    expect(last([...renewing, take(1902, packet({ xid: 9, options: refusal }))])).toMatchObject({ news: "lost" });
    const stranger = refusal.map(([kind, value]): Option => [kind, kind === 54 ? ip("10.0.2.9") : value]);
    expect(last([...renewing, take(1902, packet({ xid: 9, options: stranger }))])).toMatchObject({
      news: "",
      state: "renewing",
    });
    expect(
      last([...renewing, take(1902, packet({ xid: 9, address: "10.0.2.16", options: options(ACK) }))]),
    ).toMatchObject({
      news: "",
      state: "renewing",
    });
  });

  test("takes an odd router, a mask of one address, as Google leases, and a packet size within reason", () => {
    const lease = last(bound([[1, ip("255.255.255.255")], [3, ip("10.128.0.1")], [26, [5, 180]]])).lease; // prettier-ignore
    expect(lease).toMatchObject({ mask: "255.255.255.255", router: "10.128.0.1", mtu: 1460 });
    expect(last(bound([[26, [0, 68]]])).lease).toMatchObject({ mtu: 0 });
  });

  const good = options(ACK);
  const bent = (change: (bytes: Buffer) => void, again = true): Buffer => {
    const bytes = packet({ options: good });
    change(bytes);
    return again ? summed(bytes) : bytes;
  };
  const field = (...list: readonly Option[]): number[] =>
    list.flatMap(([kind, value]) => [kind, value.length, ...value]);
  test.each<[string, Buffer]>([
    ["for another exchange", packet({ xid: 8, options: good })],
    ["for another card", packet({ mac: "525400123457", options: good })],
    ["of another server", packet({ options: options(ACK, [[54, ip("10.0.2.9")]]) })],
    ["that names no server", packet({ options: options(ACK, [[54, []]]) })],
    ["of no type", packet({ options: options(ACK, [[53, []]]) })],
    ["of a longer type", packet({ options: options(ACK, [[53, [ACK, ACK]]]) })],
    ["that leases nothing", packet({ options: options(ACK, [[51, []]]) })],
    ["that leases for no time", packet({ options: options(ACK, [[51, u32(0)]]) })],
    ["that leases for a time of three bytes", packet({ options: options(ACK, [[51, [0, 14, 16]]]) })],
    ["without a mask", packet({ options: options(ACK, [[1, []]]) })],
    ["with a mask with holes", packet({ options: options(ACK, [[1, ip("255.0.255.0")]]) })],
    ["that leases a loopback address", packet({ address: "127.0.0.1", options: good })],
    ["that leases a group's address", packet({ address: "224.0.0.1", options: good })],
    ["that leases no address", packet({ address: "0.0.0.0", options: good })],
    ["whose router is everybody", packet({ options: options(ACK, [[3, ip("255.255.255.255")]]) })],
    ["whose resolver is the machine itself", packet({ options: options(ACK, [[6, ip("127.0.0.53")]]) })],
    ["that says a thing twice", packet({ options: [...good, [51, u32(9)]] })],
    ["that goes on in other fields", packet({ options: [...good, [52, [3]]] })],
    ["without an end", packet({ options: [], raw: field(...good) })],
    ["whose last option is cut off", packet({ options: [], raw: [...field(...good), 12, 9, 65] })],
    ["that ends in an option's number", packet({ options: [], raw: [...field(...good), 12] })],
    ["that is a request itself", bent((bytes) => (bytes[28] = 1))],
    ["with another cookie", bent((bytes) => (bytes[264] = 98))],
    ["of another IP version", bent((bytes) => (bytes[0] = 0x65))],
    ["with a header that is too short", bent((bytes) => (bytes[0] = 0x44))],
    ["that is a fragment", bent((bytes) => (bytes[7] = 1))],
    ["of which more fragments follow", bent((bytes) => (bytes[6] = 0x20))],
    ["that is not UDP", bent((bytes) => (bytes[9] = 6))],
    ["from another port", bent((bytes) => (bytes[21] = 68))],
    ["to another port", bent((bytes) => (bytes[23] = 67))],
    ["that says it is longer", bent((bytes) => bytes.writeUInt16BE(bytes.length + 1, 2))],
    ["whose UDP says it is longer", bent((bytes) => bytes.writeUInt16BE(bytes.length - 19, 24))],
    ["with a wrong checksum of its header", bent((bytes) => bytes.writeUInt16BE(1, 10), false)],
    ["with a wrong checksum", bent((bytes) => (bytes[27] = (bytes[27] ?? 0) ^ 1), false)],
  ])("takes no answer %s", (_, bytes) => {
    expect(last([...requested, take(102, bytes)])).toMatchObject({ state: "requesting", news: "" });
  });

  test("takes a packet whose checksum the card was to fill in, and one that the link filled up", () => {
    const unsummed = bent((bytes) => bytes.writeUInt16BE(0x1234, 26), false);
    expect(last([...requested, take(102, unsummed, 0)])).toMatchObject({ news: "leased" });
    expect(last([...requested, take(102, Buffer.concat([packet({ options: good }), Buffer.alloc(9)]))])).toMatchObject({
      news: "leased",
    });
  });

  test("reads nothing behind a packet that is cut off anywhere, and takes none of those", () => {
    const whole = packet({ options: good });
    const cut = Array.from({ length: whole.length }, (_, length) => {
      const part = Buffer.from(whole.subarray(0, length));
      // Consistent about its length, so that what is cut off is looked at.
      if (length >= 28) {
        part.writeUInt16BE(length, 2);
        part.writeUInt16BE(length - 20, 24);
        summed(part);
      }
      return take(102, part);
    });
    expect(
      run([...requested, ...cut])
        .slice(4)
        .every(({ news }) => news === ""),
    ).toBe(true);
  });

  test("of 10,000 spoilt answers, none breaks it, and none leases an address that no machine can have", () => {
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return (seed >>> 8) % below;
    };
    const whole = packet({ options: options(ACK, [[58, u32(60)], [26, [5, 180]], [12, [104, 105]]]) }); // prettier-ignore
    const commands = Array.from({ length: 10_000 }, () => {
      let bytes = Buffer.from(whole);
      for (let changes = 1 + random(4); changes > 0; changes--) {
        // Mostly where the options are.
        const at = random(4) === 0 ? random(bytes.length) : 264 + random(bytes.length - 264);
        bytes[at] = random(3) === 0 ? ([0, 255, 1, 127][random(4)] ?? 0) : random(256);
      }
      if (random(5) === 0) bytes = bytes.subarray(0, 28 + random(bytes.length - 28));
      if (random(3) > 0 && bytes.length >= 28) {
        bytes.writeUInt16BE(bytes.length, 2);
        bytes.writeUInt16BE(bytes.length - 20, 24);
      }
      return [...requested, take(102, summed(bytes), random(2))];
    });
    const leases = run(commands.flat()).flatMap(({ lease }) => (lease === undefined ? [] : [lease]));
    expect(leases.length).toBeGreaterThan(100);
    for (const { address, router, server, seconds, renew, rebind, mtu } of leases as Record<
      string,
      string | number
    >[]) {
      const top = (one: string | number | undefined): number => Number(String(one).split(".")[0]);
      for (const one of [address, server]) expect(top(one) > 0 && top(one) < 224 && top(one) !== 127).toBe(true);
      expect(router === "0.0.0.0" || (top(router) > 0 && top(router) < 224)).toBe(true);
      expect(Number(renew) <= Number(rebind) && Number(rebind) <= Number(seconds)).toBe(true);
      expect(mtu === 0 || (Number(mtu) >= 576 && Number(mtu) <= 9216)).toBe(true);
    }
  });
});
