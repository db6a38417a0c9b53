import { inspect } from "node:util";

import { expect, test } from "vitest";

import { createLog } from "./log.ts";
import { equalSecrets, Secret } from "./secret.ts";

test("a secret shows itself to nobody but who asks by name", () => {
  const secret = new Secret("canary");
  const lines: string[] = [];
  createLog("test", { destination: { write: (line) => void lines.push(line) } }).info(
    { secret, list: [secret] },
    "hello",
  );
  const shown = [
    String(secret),
    JSON.stringify({ secret }),
    inspect({ secret }, { depth: 9, showHidden: true }),
    ...lines,
  ];
  expect(shown.join()).not.toContain("canary");
  expect(Object.keys(secret)).toEqual([]);
  expect(secret.reveal()).toBe("canary");
});

test("a log hides the fields that secrets travel in", () => {
  const lines: string[] = [];
  const log = createLog("test", { destination: { write: (line) => void lines.push(line) } });
  log.info({ authorization: "canary", req: { session_jwt: "canary", dpop: "canary" }, loginSecret: "canary" }, "x");
  expect(lines.join()).not.toContain("canary");
});

test("secrets are equal when all their bytes are", () => {
  const of = (text: string): Buffer => Buffer.from(text);
  expect([
    equalSecrets(of("ab"), of("ab")),
    equalSecrets(of("ab"), of("ac")),
    equalSecrets(of("ab"), of("abc")),
  ]).toEqual([true, false, false]);
});
