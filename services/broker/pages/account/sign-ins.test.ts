import { expect, test } from "vitest";

import type { OmniAccount } from "@agentkeys/lib/account";

import type { SessionRecord } from "../../token/index.ts";
import { signInsOf } from "./sign-ins.ts";

const account = "a".repeat(64) as OmniAccount;
const session = (sessionId: string, more: Partial<SessionRecord> = {}): SessionRecord => ({
  ...{ sessionId, kind: "identity", subject: account, anchor: account, identity: account, deviceName: "" },
  ...{ sourceAddress: "127.0.0.1", signedInAt: 0, provenAt: 0, restricted: false, lastAudience: "" },
  ...{ createdAt: 0, expiresAt: 1, ...more },
});

test("one machine may have very many sessions, and stays one sign-in that is told in one look at each", () => {
  const wallets = Array.from({ length: 200_000 }, (_, i) =>
    session(`wallet ${i}`, { kind: "wallet", parentId: "machine", lastUsedAt: i, lastAudience: `${i % 3}` }),
  );
  const [found, ...others] = signInsOf([...wallets, session("machine")]);
  expect(others).toEqual([]);
  expect(found?.root.sessionId).toBe("machine");
  expect(found?.lastUsedAt).toBe(199_999);
  expect(found?.audiences).toEqual(["0", "1", "2"]);
});
