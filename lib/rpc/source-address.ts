import { BlockList, isIP } from "node:net";

/** Tells who really sent a request: the peer of the socket and the request's X-Forwarded-For go in, one address comes out. */
export type SourceAddress = (peer: string | undefined, forwardedFor: string | undefined) => string;

/**
 * Believes X-Forwarded-For only when the peer itself is in one of `trustedProxies` (CIDRs or single addresses), and then
 * only as far as those reach: from the right, the first address that is not a trusted proxy is the source. What a client wrote
 * further left proves nothing. Throws a TypeError that names a CIDR which is none.
 */
export function sourceAddressBehind(trustedProxies: readonly string[]): SourceAddress {
  const trusted = new BlockList();
  for (const cidr of trustedProxies) trust(trusted, cidr);
  const isTrusted = (address: string): boolean => trusted.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
  return (peer, forwardedFor) => {
    let source = plainAddress(peer ?? "") ?? "";
    const hops = forwardedFor?.split(",") ?? [];
    while (source !== "" && isTrusted(source)) {
      const hop = plainAddress(hops.pop()?.trim() ?? "");
      if (hop === undefined) break;
      source = hop;
    }
    return source;
  };
}

function trust(list: BlockList, cidr: string): void {
  const [address = "", prefix, ...rest] = cidr.split("/");
  const version = isIP(address);
  const bits = prefix === undefined ? (version === 6 ? 128 : 32) : /^\d{1,3}$/.test(prefix) ? Number(prefix) : NaN;
  if (version === 0 || rest.length > 0 || !(bits <= (version === 6 ? 128 : 32))) {
    throw new TypeError(`"${cidr}" is not a CIDR such as 10.0.0.0/8 or fd00::/8`);
  }
  list.addSubnet(address, bits, version === 6 ? "ipv6" : "ipv4");
}

/** Takes off a port, brackets, a zone, and the IPv6 form of an IPv4 address; undefined for what is no address. */
function plainAddress(text: string): string | undefined {
  const bare = /^\[(.*)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
  const unmapped = /^::ffff:([\d.]+)$/i.exec(bare)?.[1] ?? bare.replace(/%.*$/, "");
  return isIP(unmapped) === 0 ? undefined : unmapped;
}
