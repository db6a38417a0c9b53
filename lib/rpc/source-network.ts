/**
 * What counts as one source where calls are limited: an IPv4 address as it is, and of an IPv6 address its /64, which a household or a
 * server has whole. Anything else is given back.
 */
export function networkOf(address: string): string {
  if (!/^[0-9a-f]*:[0-9a-f:]+$/i.test(address)) return address;
  const [head = "", tail = ""] = address.toLowerCase().split("::");
  const groups = head.split(":").filter(Boolean);
  const rest = tail.split(":").filter(Boolean);
  const zeros = Array.from({ length: Math.max(0, 8 - groups.length - rest.length) }, () => "0");
  const all = address.includes("::") ? [...groups, ...zeros, ...rest] : groups;
  return all.slice(0, 4).join(":") + "::/64";
}
