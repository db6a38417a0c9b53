import { execFileSync } from "node:child_process";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { SessionKind } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";
import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { createFakeMachine, type FakeMachine, refuse } from "../testing/fake-machine.ts";
import { ACCOUNT, WALLET } from "../testing/fake-services.ts";

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
      /^aaaaaaaaaa {2}identity {2}laptop {3}192\.0\.2\.1 {2}2030-01-01 12:30 {2}never .* this one$/,
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
});

describe("agentkeys link", () => {
  test("waits for the person, then says who can sign in now", async () => {
    let asked = 0;
    machine.services.handlers = {
      linkIdentity: () => {
        if (++asked < 3) throw new Failure(ErrorReason.LOGIN_PENDING, "not yet", { retryAfterMs: 1 });
        return { identity: work };
      },
    };
    const { code, stdout } = await machine.agentkeys("link", "--email", "work@example.com");
    expect(code).toBe(0);
    expect(stdout).toContain("BCDF-GHJK");
    expect(stdout).toContain("work@example.com signs in to this account now.");
    const [start, link] = machine.services.calls;
    expect(start).toMatchObject({ method: "StartEmailLogin", session: "none", proof: "plain" });
    expect(link).toMatchObject({ method: "LinkIdentity", session: "identity", proof: "about the session" });
  });

  test("shows the page of a provider, and only if it is one", async () => {
    const { stdout } = await machine.agentkeys("link", "--oauth", "corp");
    expect(stdout).toContain(`${machine.services.url}/login#`);
    machine.services.handlers = {
      startOauthLogin: () => ({ authorizationUrl: "javascript:alert(1)", userCode: "BCDF-GHJK", expiresAt: at }),
    };
    const refused = await machine.agentkeys("link", "--oauth", "corp");
    expect(refused.stdout).not.toContain("javascript");
    expect(refused.stderr).toContain("the page to open is none");
  });

  test("needs to know what to link", async () => {
    expect((await machine.agentkeys("link")).code).toBe(2);
    expect((await machine.agentkeys("link", "--email", "a@b.example", "--oauth", "corp")).code).toBe(2);
  });

  test("proves the person anew where that is needed, and goes on by itself", async () => {
    let fresh = false;
    machine.services.handlers = {
      linkIdentity: () => {
        if (!fresh) throw new Failure(ErrorReason.FRESH_SIGN_IN_REQUIRED, "too old");
        return { identity: work };
      },
      stepUp: () => {
        fresh = true;
        return { freshUntil: at };
      },
    };
    const { code, stdout } = await machine.agentkeys("link", "--email", "work@example.com");
    expect(code).toBe(0);
    expect(stdout).toContain("This needs a fresh sign-in");
    const mailed = machine.services.calls.filter(({ method }) => method === "StartEmailLogin");
    expect(mailed.map(({ request }) => request["email"])).toEqual(["work@example.com", "ada@example.com"]);
  });

  const offer = {
    offerId: "0".repeat(64),
    keptAccount: ACCOUNT,
    keptWallets: [{ address: WALLET, checksumAddress: "0xKept", verified: true }],
    endedAccount: "1e".repeat(32),
    endedWallets: [{ address: WALLET, checksumAddress: "0xEnded", verified: true }],
    endedIdentities: [work],
  };

  test("offers a merge, and without anybody to agree changes nothing", async () => {
    machine.services.handlers = { linkIdentity: () => ({ mergeOffer: offer }) };
    const { code, stdout, stderr } = await machine.agentkeys("link", "--email", "work@example.com");
    expect(code).toBe(2);
    for (const text of ["0xKept", "0xEnded", "work@example.com", "Nothing has been changed yet"])
      expect(stdout).toContain(text);
    expect(stderr).toContain("Nothing was changed");
    expect(stderr).toContain("--merge");
    expect(machine.methods()).not.toContain("MergeAccount");
  });

  test("merges the accounts that were shown when told to", async () => {
    machine.services.handlers = {
      linkIdentity: () => ({ mergeOffer: offer }),
      mergeAccount: () => ({ identities: [ada, work] }),
    };
    const { stdout } = await machine.agentkeys("link", "--email", "work@example.com", "--merge");
    expect(stdout).toContain("The accounts are one now, with 2 identities.");
    expect(machine.services.calls.at(-1)).toMatchObject({
      method: "MergeAccount",
      request: { offerId: offer.offerId },
    });
  });
});

describe("agentkeys unlink", () => {
  beforeEach(() => {
    machine.services.handlers = { listIdentities: () => ({ identities: [ada, work] }) };
  });

  test.each(["work@example.com", "1e1e1e1e"])("takes off the one that is called %s", async (name) => {
    const { stdout } = await machine.agentkeys("unlink", name, "--yes");
    expect(stdout).toBe("work@example.com no longer signs in to this account.\n");
    expect(machine.services.calls.at(-1)).toMatchObject({
      method: "UnlinkIdentity",
      request: { omniAccount: work.omniAccount },
    });
  });

  test("asks, and where nobody can be asked does nothing", async () => {
    expect((await machine.agentkeys("unlink", "work@example.com")).stderr).toContain("--yes");
    expect((await machine.agentkeys("unlink", "nobody@example.com", "--yes")).stderr).toContain("No identity");
    expect(machine.methods()).not.toContain("UnlinkIdentity");
  });

  test("says why the last one stays", async () => {
    machine.services.handlers = { ...machine.services.handlers, unlinkIdentity: refuse(ErrorReason.LAST_IDENTITY) };
    const { code, stderr } = await machine.agentkeys("unlink", "work@example.com", "--yes");
    expect(code).toBe(1);
    expect(stderr).toContain("agentkeys link");
  });
});

test("agentkeys unfreeze lets the account work again", async () => {
  expect((await machine.agentkeys("unfreeze")).stdout).toBe("The account is not frozen.\n");
  machine.services.handlers = { whoAmI: () => ({ omniAccount: ACCOUNT, frozenAt: at }) };
  expect((await machine.agentkeys("unfreeze")).stdout).toContain("agentkeys init");
  expect(machine.methods()).toContain("UnfreezeAccount");
});

describe("agentkeys completions", () => {
  test("completes commands and their options in bash", async () => {
    const { stdout } = await machine.agentkeys("completions", "bash");
    const complete = (...words: string[]): string =>
      execFileSync(
        "bash",
        [
          "-c",
          `${stdout}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _agentkeys; echo "\${COMPREPLY[*]}"`,
          "-",
          ...words,
        ],
        {
          encoding: "utf8",
        },
      ).trim();
    expect(complete("agentkeys", "un")).toBe("unlink unfreeze");
    expect(complete("agentkeys", "link", "--e")).toBe("--email");
    expect(complete("agentkeys", "nothing", "--")).toBe("");
  });

  test("knows every command in every shell, and no other shell", async () => {
    const help = (await machine.agentkeys("--help")).stdout;
    const commands = [...help.matchAll(/^ {2}([a-z]+) /gm)]
      .map(([, name = ""]) => name)
      .filter((name) => name !== "help");
    expect(commands.length).toBeGreaterThan(10);
    for (const shell of ["bash", "zsh", "fish"]) {
      const { stdout } = await machine.agentkeys("completions", shell);
      for (const command of commands) expect(stdout, shell).toContain(command);
    }
    expect((await machine.agentkeys("completions", "cmd")).code).toBe(2);
  });
});

test("a command that is nearly right is named", async () => {
  const { code, stderr } = await machine.agentkeys("identites");
  expect(code).toBe(2);
  expect(stderr).toContain("identities");
});
