import { create, type DescMethodUnary, getOption } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { access as accessOption, Access } from "@agentkeys/gen/agentkeys/access/v1/access_pb";
import { ErrorReason } from "@agentkeys/gen/agentkeys/errors/v1/error_reason_pb";
import { describe, expect, test } from "vitest";

import type { Caller, Callers } from "./callers.ts";
import { disagreements, type Problem, problemsWithBroken, problemsWithStranger, problemsWithValid } from "./checks.ts";
import { shortName } from "./descriptors.ts";
import { createExaminer, type Examination } from "./examiner.ts";
import { messagesOf, type ValidMessage } from "./generator/messages.ts";
import { distinctBy } from "./generator/proposals.ts";
import type { Answer } from "./protocols/answer.ts";
import { anonymous, type Protocol } from "./protocols/protocol.ts";

/** An RPC, and all that is needed to try it. */
export interface Subject {
  rpc: DescMethodUnary;
  protocols: readonly [reference: Protocol, ...others: Protocol[]];
  callers: Callers;
}

/**
 * The contract tests of one RPC, made from its descriptor: for each protocol, valid messages, messages that break a rule, and
 * callers who may not call. All protocols must answer as the first one does.
 */
export function describeRpc({ rpc, protocols, callers }: Subject): void {
  const { valid, broken } = messagesOf(rpc.input);
  const access = getOption(rpc, accessOption);
  const examine = createExaminer(rpc, protocols[0]);
  const people = peopleFor(rpc, access, callers);
  const { nobody, member, rightful } = people;
  const prepare = callers.prepared[shortName(rpc)];

  describe(shortName(rpc), () => {
    describe.each(protocols.map((protocol) => [protocol.name, protocol] as const))("over %s", (_, protocol) => {
      test("valid messages are not refused as invalid, and are answered as over every protocol", async () => {
        const examination = { who: "rightful", caller: rightful, cases: valid, check: problemsWithValid };
        expect(await examine(protocol, examination)).toEqual([]);
      });

      if (broken.length > 0) {
        test("a message that breaks a rule is refused, by field and reason", async () => {
          const examination = { who: "nobody (broken)", caller: nobody, cases: broken, check: problemsWithBroken };
          expect(await examine(protocol, examination)).toEqual([]);
          if (access === Access.ANYONE) return;
          // What is looked at first is the message; a session makes no difference, so one message for each field will do.
          const few = distinctBy(broken, ({ field }) => field);
          expect(await examine(protocol, { ...examination, who: "member", caller: member, cases: few })).toEqual([]);
        });
      }

      if (access === Access.OPTIONAL_IDENTITY_SESSION) {
        test("without a session valid messages are served too", async () => {
          const examination = { who: "nobody", caller: nobody, cases: valid, check: problemsWithValid };
          expect(await examine(protocol, examination)).toEqual([]);
        });
      }

      if (prepare !== undefined) {
        test("what was made ready for it succeeds, and is answered as over every protocol", async () => {
          const send = async (by: Protocol): Promise<Answer> => {
            const { init, caller } = await prepare();
            return by.call(create(rpc.input, init), caller.credentials);
          };
          const answer = await send(protocol);
          expect(answer.code).toBe("ok");
          expect(disagreements(rpc, answer, await send(protocols[0]))).toEqual([]);
        });
      }

      for (const { title, ...examination } of strangersTo(access, valid, people)) {
        test(title, async () => {
          expect(await examine(protocol, examination)).toEqual([]);
        });
      }
    });
  });
}

interface People {
  /** Without a session. */
  nobody: () => Promise<Caller>;
  /** With a good session, but not for the account that a message may name. */
  member: () => Promise<Caller>;
  /** With a session of the kind that the RPC does not ask for. */
  other: () => Promise<Caller>;
  /** Whom the RPC asks for. */
  rightful: () => Promise<Caller>;
}

function peopleFor(rpc: DescMethodUnary, access: Access, callers: Callers): People {
  const reader = (): Promise<Caller> => callers.rightfulForReading(access);
  const changesNothing = rpc.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  return {
    nobody: () => Promise.resolve({ credentials: anonymous }),
    member: async () => ({ credentials: (await reader()).credentials }),
    other: () => callers.withOtherSession(access),
    rightful: changesNothing ? reader : () => callers.rightful(access),
  };
}

type Strangers = Examination<ValidMessage> & { title: string };

/** Who may not call, and what each must be told. */
function strangersTo(access: Access, valid: readonly ValidMessage[], { nobody, member, other }: People): Strangers[] {
  const typical = valid.slice(0, 2);
  const told =
    (code: string, reason: ErrorReason) =>
    (answer: Answer): Problem[] =>
      problemsWithStranger(answer, { code, reason });
  const withoutSession: Strangers = {
    title: "without a session no valid message is served",
    who: "nobody (valid)",
    caller: nobody,
    cases: valid,
    check: told("unauthenticated", ErrorReason.SESSION_REQUIRED),
  };
  const otherKind: Strangers = {
    title: "a session of the other kind is not enough",
    who: "other kind",
    caller: other,
    cases: typical,
    check: told("permission_denied", ErrorReason.SESSION_KIND),
  };
  const otherAccount: Strangers = {
    title: "another's account is not served",
    who: "other account",
    caller: member,
    cases: typical,
    check: told("permission_denied", ErrorReason.WRONG_ACCOUNT),
  };
  switch (access) {
    case Access.IDENTITY_SESSION:
    case Access.RESTRICTED_IDENTITY_SESSION:
    case Access.RENEWABLE_IDENTITY_SESSION:
    case Access.WALLET_SESSION:
      return [withoutSession, otherKind];
    case Access.ACCOUNT_OWNER:
      return [withoutSession, otherKind, otherAccount];
    case Access.OPTIONAL_IDENTITY_SESSION:
      return [otherKind];
    default:
      return [];
  }
}
