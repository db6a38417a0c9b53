import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { SessionKind } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";
import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine } from "../testing/fake-machine.ts";
import { ACCOUNT } from "../testing/fake-services.ts";

let machine: FakeMachine;
beforeEach(async () => {
  machine = await createFakeMachine();
  await machine.init();
  machine.services.calls.length = 0;
});
afterEach(() => machine.remove());

const at = timestampFromMs(Date.UTC(2030, 0, 1, 12, 30));
const work = {
  omniAccount: "1e".repeat(32),
  type: IdentityType.EMAIL,
  value: "work@example.com",
  linkedAt: at,
  lastUsedAt: at,
};
const ada = { omniAccount: ACCOUNT, type: IdentityType.EMAIL, value: "ada@example.com", linkedAt: at, lastUsedAt: at };
const json = ({ stdout }: { stdout: string }): unknown => JSON.parse(stdout.trim().split("\n").at(-1) ?? "");

test.each(["identities", "sessions", "events", "unfreeze", "link --email x@example.com", "unlink a", "revoke abcdef"])(
  "without a sign-in, %s says to run init",
  async (line) => {
    await machine.agentkeys("logout");
    const { code, stderr } = await machine.agentkeys(...line.split(" "));
    expect(code).toBe(4);
    expect(stderr).toContain("agentkeys init");
  },
);

describe("agentkeys identities", () => {
  test("lists who can sign in, the first and the suspended marked, in words that no name can forge", async () => {
    const hostile = { ...work, value: "evil\u001b[2J\u202e@example.com", suspended: true };
    machine.services.handlers = { listIdentities: () => ({ identities: [ada, hostile] }) };
    const { stdout } = await machine.agentkeys("identities");
    const [, first, second] = stdout.split("\n");
    expect(first).toMatch(/^0f0f0f0f0f {2}email {2}ada@example\.com +2030-01-01 12:30 {2}2030-01-01 12:30 {2}first$/);
    expect(second).toContain("SUSPENDED");
    expect(stdout.includes("\u001b") || stdout.includes("\u202e")).toBe(false);
    expect(json(await machine.agentkeys("identities", "--json"))).toMatchObject({
      identities: [
        { omni_account: ACCOUNT, type: "email", value: "ada@example.com", suspended: false },
        { suspended: true },
      ],
    });
  });
});

test("identities are called as people know them: a passkey by its name, an account at a provider by both", async () => {
  const passkey = {
    ...{ omniAccount: "2f".repeat(32), type: IdentityType.PASSKEY, value: "kX8f", linkedAt: at, lastUsedAt: at },
    displayName: "Passkey made on Linux, 2030-01-01",
  };
  const hostile = {
    ...{ omniAccount: "3f".repeat(32), type: IdentityType.OAUTH2, value: "https://corp.example|7", linkedAt: at },
    displayName: "ada@example.com\u001b[2J\u202e\nfirst",
  };
  machine.services.handlers = { listIdentities: () => ({ identities: [ada, passkey, hostile] }) };
  const { stdout } = await machine.agentkeys("identities");
  expect(stdout).toContain("passkey  Passkey made on Linux, 2030-01-01");
  expect(stdout).not.toContain("kX8f");
  expect(stdout).toContain("https://corp.example|7 (ada@example.com [2J first)");
  expect(stdout.trim().split("\n")).toHaveLength(4);
  expect(stdout.includes("\u001b") || stdout.includes("\u202e")).toBe(false);
  expect(json(await machine.agentkeys("identities", "--json"))).toMatchObject({
    identities: [{ value: "ada@example.com" }, { value: "kX8f", display_name: passkey.displayName }, {}],
  });
  const taken = await machine.agentkeys("unlink", "2f2f2f2f", "--yes");
  expect(taken.stdout).toBe("Passkey made on Linux, 2030-01-01 no longer signs in to this account.\n");
});

describe("agentkeys sessions and revoke", () => {
  const session = (sessionId: string, more: object = {}) => ({
    ...{
      sessionId,
      kind: SessionKind.IDENTITY,
      createdAt: at,
      expiresAt: at,
      deviceName: "laptop",
      sourceAddress: "192.0.2.1",
    },
    ...more,
  });
  beforeEach(() => {
    const sessions = [
      session("a".repeat(22), { current: true }),
      session("abcdef" + "b".repeat(16)),
      session("abcdeg" + "c".repeat(16)),
    ];
    machine.services.handlers = {
      listSessions: () => ({ sessions }),
      revokeSession: ({ sessionId }) => ({ sessionIds: [sessionId] }),
    };
  });
  const revoked = () =>
    machine.services.calls
      .filter(({ method }) => method === "RevokeSession")
      .map(({ request }) => request["sessionId"]);

  test("shows where, when and for whom", async () => {
    const { stdout } = await machine.agentkeys("sessions");
    expect(stdout.split("\n")[1]).toMatch(
      /^aaaaaaaaaa {2}identity {2}laptop {3}192\.0\.2\.1 {2}2030-01-01 12:30 {2}never +2030-01-01 12:30 {2}- +this one$/,
    );
    expect(json(await machine.agentkeys("sessions", "--json"))).toMatchObject({
      sessions: [{ current: true, device_name: "laptop" }, {}, {}],
    });
  });

  test("ends one by the beginning of its id, which must be long enough and of one session only", async () => {
    expect((await machine.agentkeys("revoke", "abcde")).stderr).toContain("at least 6 characters");
    expect((await machine.agentkeys("revoke", "zzzzzz")).stderr).toContain("No session");
    expect((await machine.agentkeys("revoke")).code).toBe(2);
    expect(revoked()).toEqual([]);
    const { code, stdout } = await machine.agentkeys("revoke", "abcdef");
    expect({ code, stdout }).toEqual({ code: 0, stdout: "1 session is ended, everywhere within 10 seconds.\n" });
    expect(revoked()).toEqual(["abcdef" + "b".repeat(16)]);
  });

  test("ends all others", async () => {
    expect((await machine.agentkeys("revoke", "--all-others")).stdout).toContain("2 sessions are ended");
    expect(revoked()).toHaveLength(2);
  });

  test("ends the rest too where one has ended by itself meanwhile, which is told where it alone was meant", async () => {
    const gone = "abcdef" + "b".repeat(16);
    machine.services.handlers.revokeSession = ({ sessionId }) => {
      if (sessionId === gone) throw new Failure(ErrorReason.SESSION_NOT_FOUND, "gone");
      return { sessionIds: [sessionId] };
    };
    const { stdout } = await machine.agentkeys("revoke", "--all-others", "--json");
    expect(JSON.parse(stdout)).toEqual({ revoked: ["abcdeg" + "c".repeat(16)] });
    expect((await machine.agentkeys("revoke", "abcdef")).code).toBe(1);
  });

  test("says so when it was this machine's own", async () => {
    expect((await machine.agentkeys("revoke", "aaaaaa")).stdout).toContain("agentkeys init");
  });

  test("wants more of an id that two sessions share, and takes one that begins with a hyphen", async () => {
    const sessions = ["abcdef" + "b".repeat(16), "abcdef" + "c".repeat(16), "-bcdef" + "d".repeat(16)];
    machine.services.handlers.listSessions = () => ({ sessions: sessions.map((id) => session(id)) });
    expect((await machine.agentkeys("revoke", "abcdef")).stderr).toContain("More than one session");
    expect(revoked()).toEqual([]);
    expect((await machine.agentkeys("revoke", "--", "-bcdef")).code).toBe(0);
    expect(revoked()).toEqual([sessions[2]]);
  });

  test("no machine's name forges a line", async () => {
    const forged = session("a".repeat(22), { deviceName: "x\n\u001b[2J\u202e", lastAudience: "\u009b1A" });
    machine.services.handlers.listSessions = () => ({ sessions: [forged] });
    for (const form of [[], ["--json"]]) {
      const { stdout } = await machine.agentkeys("sessions", ...form);
      expect(stdout.trimEnd().split("\n")).toHaveLength(2 - form.length);
      // eslint-disable-next-line no-control-regex -- control characters are what this is about
      expect(stdout).not.toMatch(/[\u001b\u009b\u202e]/);
    }
  });
});

describe("agentkeys events", () => {
  test("pages through as many as are wanted", async () => {
    const event = (id: number) => ({ eventId: String(id), occurredAt: at, action: "oidc.minted", outcome: "ok" });
    machine.services.handlers = {
      listEvents: ({ pageSize, pageToken }) => {
        const from = Number(pageToken === "" ? 500 : pageToken);
        return {
          events: Array.from({ length: pageSize }, (_, i) => event(from - i)),
          nextPageToken: String(from - pageSize),
        };
      },
    };
    const answer = json(await machine.agentkeys("events", "--limit", "250", "--json")) as {
      events: { event_id: string }[];
    };
    expect(answer.events).toHaveLength(250);
    expect(answer.events.at(-1)?.event_id).toBe("251");
    expect((await machine.agentkeys("events", "--limit", "many")).code).toBe(2);
  });

  test("ends where pages are empty, however many are promised, and shows no more than was asked for", async () => {
    const hostile = {
      eventId: "1",
      occurredAt: at,
      action: "login.confirmed",
      outcome: "ok",
      subject: "a\u001b[2J\nb",
    };
    machine.services.handlers = { listEvents: () => ({ events: [], nextPageToken: "again" }) };
    expect((await machine.agentkeys("events")).stdout).toMatch(/^WHEN [^\n]*\n$/);
    machine.services.handlers = { listEvents: () => ({ events: [hostile, hostile, hostile] }) };
    const { stdout } = await machine.agentkeys("events", "--limit", "2");
    expect(stdout.trimEnd().split("\n")).toHaveLength(3);
    expect(stdout).not.toContain("\u001b");
  });
});

test("agentkeys unfreeze lets the account work again", async () => {
  expect((await machine.agentkeys("unfreeze")).stdout).toBe("The account is not frozen.\n");
  machine.services.handlers = { whoAmI: () => ({ omniAccount: ACCOUNT, frozenAt: at }) };
  expect((await machine.agentkeys("unfreeze")).stdout).toContain("agentkeys init");
  expect(machine.methods()).toContain("UnfreezeAccount");
});
