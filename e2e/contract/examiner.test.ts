import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";

import { problemsWithBroken, problemsWithMalformed, problemsWithValid } from "./checks.ts";
import { buildSampleContract, rpcsOf } from "./descriptors.ts";
import { createExaminer } from "./examiner.ts";
import { messagesOf } from "./generator/messages.ts";
import type { Answer, Refusal } from "./protocols/answer.ts";
import { anonymous, type Protocol } from "./protocols/protocol.ts";

const rpc = rpcsOf(buildSampleContract().services).find(({ name }) => name === "ListAnimals")!;
const { valid, broken } = messagesOf(rpc.input);
const animal = create(rpc.output.field["animals"]!.message!);

const caller = () => Promise.resolve({ credentials: anonymous });
const server = (name: string, answer: Answer): Protocol => ({ name, call: () => Promise.resolve(answer) });
const success = (response: Record<string, unknown>): Answer => ({ code: "ok", response: create(rpc.output, response) });
const refused = (part: Partial<Refusal>): Refusal => ({
  code: "not_found",
  reason: "SESSION_NOT_FOUND",
  domain: "agentkeys",
  message: "there is none",
  violations: [],
  ...part,
});

/** What is found when every call is answered so, by the reference too. */
function examined(kind: "valid" | "broken", answer: Answer, reference = answer): Promise<string[]> {
  const examine = createExaminer(rpc, server("reference", reference));
  const other = server("other", answer);
  return kind === "valid"
    ? examine(other, { who: "anyone", caller, cases: valid.slice(0, 1), check: problemsWithValid })
    : examine(other, { who: "anyone", caller, cases: broken.slice(0, 1), check: problemsWithBroken });
}

describe("a server that serves the contract", () => {
  test("is found to be right", async () => {
    const violation = `${broken[0]!.field} ${broken[0]!.rule}`;
    const invalid = { code: "invalid_argument", reason: "INVALID_REQUEST", message: "page_size: is too high" };
    expect(await examined("valid", success({}))).toEqual([]);
    expect(await examined("valid", refused({}))).toEqual([]);
    expect(await examined("broken", refused({ ...invalid, violations: [violation] }))).toEqual([]);
  });
});

describe("a server that does not is found out when it", () => {
  test.each<[string, "valid" | "broken", Answer, RegExp]>([
    ["validates nothing", "broken", success({}), /accepted, though it breaks uint32\.lte/],
    ["refuses what is valid", "valid", refused({ code: "invalid_argument" }), /refused as invalid_argument/],
    ["turns the rightful caller away", "valid", refused({ code: "unauthenticated" }), /refused as unauthenticated/],
    ["refuses what is invalid for another reason", "broken", refused({}), /not invalid_argument but not_found/],
    [
      "gives no reason",
      "valid",
      refused({ reason: undefined }),
      /has the reason \(none\), which ErrorReason does not list/,
    ],
    ["makes a reason up", "valid", refused({ reason: "BAD_LUCK" }), /BAD_LUCK, which ErrorReason does not list/],
    ["answers in another's name", "valid", refused({ domain: "example.com" }), /has the domain example\.com/],
    ["fails", "valid", refused({ code: "internal", reason: "INTERNAL" }), /a fault of the server's: internal/],
    ["does not name the field", "broken", refused({ code: "invalid_argument" }), /does not name the field page_size/],
  ])("%s", async (_, kind, answer, problem) => {
    expect((await examined(kind, answer)).join("\n")).toMatch(problem);
  });

  test.each<[string, Answer, Answer]>([
    ["refuses what the reference answers", refused({}), success({})],
    ["refuses with another message", refused({ message: "gone" }), refused({})],
    ["refuses with another reason", refused({ reason: "LOGIN_NOT_FOUND" }), refused({})],
    ["leaves out what the reference has", success({}), success({ animals: [animal] })],
  ])("%s", async (_, answer, reference) => {
    expect(await examined("valid", answer, reference)).toHaveLength(1);
  });

  test("repeats a parser's text", () => {
    const message = "Unexpected token } in JSON at position 7";
    const answer = refused({ code: "invalid_argument", reason: "INVALID_REQUEST", message });
    expect(problemsWithMalformed(answer, {})).toEqual([`the message has a parser's text: "${message}"`]);
  });

  test("has a protocol that cannot say any of the messages", async () => {
    const mute: Protocol = { ...server("mute", success({})), carries: () => false };
    const examination = { who: "anyone", caller, cases: valid, check: problemsWithValid };
    await expect(createExaminer(rpc, mute)(mute, examination)).rejects.toThrow("mute has a way to say none");
  });
});
