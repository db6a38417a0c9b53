import { clone, type DescMethodUnary, type Message } from "@bufbuild/protobuf";

import type { Caller } from "./callers.ts";
import { about, disagreements, type Problem } from "./checks.ts";
import type { ValidMessage } from "./generator/messages.ts";
import type { Answer } from "./protocols/answer.ts";
import type { Protocol } from "./protocols/protocol.ts";

/** Messages to send on behalf of somebody, and what to look for in the answers. */
export interface Examination<M extends ValidMessage> {
  /** Tells callers apart: the reference is asked once for each of them. */
  who: string;
  caller: () => Promise<Caller>;
  cases: readonly M[];
  check: (answer: Answer, message: M) => Problem[];
}

/** Sends every message over a protocol and lists what is wrong with the answers. */
export type Examine = <M extends ValidMessage>(protocol: Protocol, examination: Examination<M>) => Promise<Problem[]>;

/** Compares all protocols of an RPC with `reference`, which is asked once for each caller and message. */
export function createExaminer(rpc: DescMethodUnary, reference: Protocol): Examine {
  const references = new Map<string, WeakMap<ValidMessage, Promise<Answer>>>();
  const referenceFor = (who: string, message: ValidMessage, ask: () => Promise<Answer>): Promise<Answer> => {
    const known = references.get(who) ?? new WeakMap<ValidMessage, Promise<Answer>>();
    const answer = known.get(message) ?? ask();
    references.set(who, known.set(message, answer));
    return answer;
  };

  return async (protocol, { who, caller, cases, check }) => {
    const carried = cases.filter(({ message }) => protocol.carries?.(message) ?? true);
    if (carried.length === 0) throw new Error(`${protocol.name} has a way to say none of the messages`);
    const problems: Problem[] = [];
    for (const one of carried) {
      const send = async (by: Protocol): Promise<Answer> => {
        const { credentials, account } = await caller();
        return by.call(withAccount(rpc, one.message, account), credentials);
      };
      const expected = await referenceFor(who, one, () => send(reference));
      const answer = protocol === reference ? expected : await send(protocol);
      problems.push(...about(one, [...check(answer, one), ...disagreements(rpc, answer, expected)]));
    }
    return problems;
  };
}

/** The message, about the caller's own account where the RPC serves nobody else. */
function withAccount(rpc: DescMethodUnary, message: Message, account: string | undefined): Message {
  const field = rpc.input.fields.find(({ name }) => name === "omni_account");
  if (account === undefined || field === undefined) return message;
  return Object.assign(clone(rpc.input, message), { [field.localName]: account });
}
