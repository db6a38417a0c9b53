import { expect, test } from "vitest";

import { networkOf } from "./source-network.ts";

test.each([
  ["192.0.2.7", "192.0.2.7"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:DB8:1:2::6", "2001:db8:1:2::/64"],
  ["2001:db8::1", "2001:db8:0:0::/64"],
  ["::1", "0:0:0:0::/64"],
  ["", ""],
  ["no address", "no address"],
])("%j is counted as %j", (address, network) => {
  expect(networkOf(address)).toBe(network);
});
