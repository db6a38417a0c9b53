import { describe, expect, test } from "vitest";

import { sourceAddressBehind } from "./source-address.ts";
import { startToy } from "./testing/toy-server.ts";

describe("the source address", () => {
  const behind = sourceAddressBehind(["10.0.0.0/8", "192.0.2.7", "fd00::/8"]);

  test.each([
    ["is the peer's when no proxy is trusted with it", "203.0.113.9", "198.51.100.1", "203.0.113.9"],
    ["is the forwarded one behind a trusted proxy", "10.1.2.3", "198.51.100.1", "198.51.100.1"],
    [
      "is the rightmost that is no trusted proxy: what stands further left is the client's word",
      "10.1.2.3",
      "1.1.1.1, 198.51.100.1, 192.0.2.7",
      "198.51.100.1",
    ],
    ["is the proxy's when it forwards nothing", "10.1.2.3", undefined, "10.1.2.3"],
    ["stops at what is no address", "10.1.2.3", "198.51.100.1, unknown", "10.1.2.3"],
    ["stops at an empty list", "10.1.2.3", "", "10.1.2.3"],
    ["is the leftmost when all are trusted", "10.1.2.3", "10.9.9.9, 10.8.8.8", "10.9.9.9"],
    ["is IPv4 when it is written as IPv6", "::ffff:10.1.2.3", "::ffff:198.51.100.1", "198.51.100.1"],
    ["has no port", "10.1.2.3", "198.51.100.1:4711", "198.51.100.1"],
    ["may be IPv6, in brackets, with a port", "fd00::1", "[2001:db8::1]:443", "2001:db8::1"],
    ["has no zone", "fe80::1%eth0", undefined, "fe80::1"],
    ["is empty when the connection is gone", undefined, "198.51.100.1", ""],
  ])("%s", (_, peer, forwardedFor, expected) => {
    expect(behind(peer, forwardedFor)).toBe(expected);
  });

  test.each(["10.0.0.0/33", "fd00::/129", "10.0.0/8", "proxy.example", "", "10.0.0.0/8/8", "10.0.0.0/-1", "10.0.0.0/"])(
    "cannot be had from a trusted proxy that is no CIDR: %j",
    (cidr) => expect(() => sourceAddressBehind([cidr])).toThrow(/is not a CIDR/),
  );
});

test("a caller cannot choose its address by X-Forwarded-For", async () => {
  await using toy = await startToy();
  await fetch(`${toy.url}/livez`, { headers: { "x-forwarded-for": "198.51.100.1" } });
  expect(await toy.nextLog(({ msg }) => msg === "request")).toMatchObject({ source: "127.0.0.1" });
});

test("a trusted proxy can, for the last hop that it saw", async () => {
  await using toy = await startToy({ trustedProxies: ["127.0.0.0/8"] });
  await fetch(`${toy.url}/livez`, { headers: { "x-forwarded-for": "1.1.1.1, 198.51.100.1" } });
  expect(await toy.nextLog(({ msg }) => msg === "request")).toMatchObject({ source: "198.51.100.1" });
});
