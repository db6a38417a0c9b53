import { readFileSync } from "node:fs";

import { codeToString } from "@connectrpc/connect/protocol-connect";
import { describe, expect, test } from "vitest";

import { ErrorReason } from "../failure.ts";
import { codeOf } from "./reason-codes.ts";

const proto = readFileSync(new URL("../../proto/agentkeys/errors/v1/error_reason.proto", import.meta.url), "utf8");
/** A comment of one or more lines, then `ERROR_REASON_X = 1;` */
const declared = [...proto.matchAll(/((?:^ *\/\/.*\n)+) *ERROR_REASON_(\w+) = \d+;/gm)]
  .map(([, comment = "", name = ""]) => ({ name, code: /`([a-z_]+)`(?: with [^`]*`[^`]*`)?\.\s*$/.exec(comment)?.[1] }))
  .filter(({ name }) => name !== "UNSPECIFIED");

test("every reason of the proto is found here", () => {
  const names = Object.values(ErrorReason).filter((name) => typeof name === "string" && name !== "UNSPECIFIED");
  expect(declared.map(({ name }) => name)).toEqual(names);
});

describe.each(declared)("$name", ({ name, code }) => {
  test(`is sent as the proto's comment says: ${code}`, () => {
    expect(codeToString(codeOf(ErrorReason[name as keyof typeof ErrorReason]))).toBe(code);
  });
});
