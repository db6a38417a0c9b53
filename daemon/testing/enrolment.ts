import { parseOmniAccount } from "@agentkeys/lib/account";
import { parseEvmAddress } from "@agentkeys/lib/ethereum";
import { Secret } from "@agentkeys/lib/secret";

import type { Enrolment } from "../state/index.ts";

/** A whole enrolment, as `agentkeys init` leaves it; its tokens and keys are only shaped like such. */
export function sampleEnrolment(changes: Partial<Enrolment> = {}): Enrolment {
  const obtainedAt = Date.UTC(2030, 0, 1);
  return {
    brokerUrl: "http://127.0.0.1:8091",
    issuer: "http://127.0.0.1:8091",
    omniAccount: parseOmniAccount("0f".repeat(32)),
    identity: { type: "email", value: "ada@example.com" },
    session: { token: new Secret("aaaa.bbbb.cccc"), obtainedAt, expiresAt: obtainedAt + 12 * 3_600_000 },
    deviceKey: new Secret({ kty: "EC", crv: "P-256", x: "x".repeat(43), y: "y".repeat(43), d: "d".repeat(43) }),
    walletAddress: parseEvmAddress("0x" + "ab".repeat(20)),
    ...changes,
  };
}
