import { type DescMethodUnary, type JsonObject, type Message, toBinary, toJson } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";

import { about, disagreements, type Problem, problemsWithMalformed } from "./checks.ts";
import { shortName } from "./descriptors.ts";
import { type Malformed, malformedBinary, malformedJson, unknownBinary, unknownJson } from "./generator/malformed.ts";
import { messagesOf } from "./generator/messages.ts";
import type { Answer } from "./protocols/answer.ts";
import { sendHttp } from "./protocols/http.ts";
import { binarySenders, sendConnectJson } from "./protocols/raw.ts";
import { routesOf } from "./routes.ts";

/** A way to send bytes as a body. */
interface Sender {
  name: string;
  /** Whether an empty body is an empty message; Connect's JSON has no such thing. */
  emptyBody: boolean;
  send: (bytes: Uint8Array) => Promise<Answer>;
}

/**
 * What no client library would send: bodies that cannot be read, and must be refused in words of our own, the same over every
 * protocol; and those that look odd but are well-formed, and must make no difference. The caller has no session: reading and
 * validation come first, so that SESSION_REQUIRED says that both went well.
 */
export function describeMalformed(rpc: DescMethodUnary, baseUrl: string): void {
  const base = messagesOf(rpc.input).valid[0]!.message;
  const [json, binary] = [jsonSenders(rpc, baseUrl), bytesSenders(rpc, baseUrl)];
  const broken = { json: malformedJson(rpc.input, base), binary: malformedBinary(rpc.input, base) };
  const odd = { json: oddJson(rpc, base), binary: [{ title: "an unknown field", ...oddBinary(rpc, base) }] };

  describe(shortName(rpc), () => {
    describe.each([...json, ...binary].map((sender) => [sender.name, sender] as const))("over %s", (_, sender) => {
      const kind = json.includes(sender) ? "json" : "binary";
      const [reference] = kind === "json" ? json : binary;

      test("a body that cannot be read is refused, in our own words", async () => {
        expect(await tryBroken(rpc, broken[kind], sender, reference!)).toEqual([]);
      });

      test("unknown fields, null and either spelling of a name make no difference", async () => {
        const problems: Problem[] = [];
        for (const { title, bytes, same } of odd[kind]) {
          problems.push(...about({ title }, disagreements(rpc, await sender.send(bytes), await sender.send(same))));
        }
        expect(problems).toEqual([]);
      });

      test(`an empty body is ${sender.emptyBody ? "an empty message" : "no message"}`, async () => {
        const answer = await sender.send(new Uint8Array(0));
        const emptyMessage = Buffer.from(kind === "json" ? "{}" : "");
        const problems = sender.emptyBody
          ? disagreements(rpc, answer, await reference!.send(emptyMessage))
          : problemsWithMalformed(answer, {});
        expect(problems).toEqual([]);
      });
    });
  });
}

async function tryBroken(
  rpc: DescMethodUnary,
  cases: readonly Malformed[],
  sender: Sender,
  reference: Sender,
): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const one of cases) {
    const answer = await sender.send(one.bytes);
    const expected = sender === reference ? answer : await reference.send(one.bytes);
    problems.push(...about(one, [...problemsWithMalformed(answer, one), ...disagreements(rpc, answer, expected)]));
  }
  return problems;
}

function jsonSenders(rpc: DescMethodUnary, baseUrl: string): Sender[] {
  const routes = routesOf(rpc).filter(({ path, body }) => body === "*" && !path.includes("{"));
  return [
    { name: "Connect JSON", emptyBody: false, send: (bytes) => sendConnectJson(rpc, baseUrl, bytes) },
    ...routes.map(({ verb, path }) => ({
      name: `${verb} ${path}`,
      emptyBody: true,
      send: (bytes: Uint8Array) => sendHttp(rpc, baseUrl + path, { method: verb, body: Buffer.from(bytes) }),
    })),
  ];
}

function bytesSenders(rpc: DescMethodUnary, baseUrl: string): Sender[] {
  return Object.entries(binarySenders).map(([name, send]) => ({
    name,
    emptyBody: true,
    send: (bytes) => send(rpc, baseUrl, bytes),
  }));
}

/** A body, and another one that must be answered the same. */
interface Odd {
  title: string;
  bytes: Uint8Array;
  same: Uint8Array;
}

function oddJson(rpc: DescMethodUnary, base: Message): Odd[] {
  const asJson = (message: Message, useProtoFieldName: boolean): JsonObject =>
    toJson(rpc.input, message, { useProtoFieldName }) as JsonObject;
  const snake = Buffer.from(JSON.stringify(asJson(base, true)));
  const nulls = rpc.input.fields.map((field) => {
    const without = JSON.stringify({ ...asJson(base, true), [field.name]: undefined });
    const withNull = JSON.stringify({ ...asJson(base, true), [field.name]: null });
    return { title: `${field.name} = null`, bytes: Buffer.from(withNull), same: Buffer.from(without) };
  });
  return [
    { title: "an unknown field", bytes: Buffer.from(unknownJson(rpc.input, base)), same: snake },
    { title: "names in camelCase", bytes: Buffer.from(JSON.stringify(asJson(base, false))), same: snake },
    ...nulls,
  ];
}

function oddBinary(rpc: DescMethodUnary, base: Message): Omit<Odd, "title"> {
  return { bytes: unknownBinary(rpc.input, base), same: toBinary(rpc.input, base) };
}
