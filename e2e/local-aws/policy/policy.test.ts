import { describe, expect, test } from "vitest";

import { isAllowed } from "./decide.ts";
import { parsePolicy, type PolicyKind } from "./document.ts";

const A = "0xaaaa";
const B = "0xbbbb";

interface StatementText {
  Effect?: string;
  Action?: unknown;
  Resource?: unknown;
  Condition?: unknown;
  [member: string]: unknown;
}

const parse = (statements: StatementText[], kind: PolicyKind = "permissions", rest: object = {}) =>
  parsePolicy(
    JSON.stringify({
      Version: "2012-10-17",
      Statement: statements.map((s) => ({ Effect: "Allow", Action: "s3:GetObject", Resource: "*", ...s })),
      ...rest,
    }),
    kind,
  );

const asks = (resource: string, keys: Record<string, string[]> = {}, action = "s3:GetObject") => ({
  action,
  resource,
  context: new Map(Object.entries(keys).map(([key, values]) => [key.toLowerCase(), values])),
});
const tagged = (wallet: string) => ({ "aws:PrincipalTag/wallet": [wallet] });

describe("a policy", () => {
  test("may hold every character that a bucket or key may, and means it literally", () => {
    const resource = "arn:aws:s3:::my-bucket.x/a+b(c)[d]{e}^f$g|h\\i-j";
    const isAllowedAt = (asked: string): boolean => isAllowed(parse([{ Resource: resource }]), asks(asked));
    expect(isAllowedAt(resource)).toBe(true);
    expect(isAllowedAt(resource.replace(".x", "-x"))).toBe(false);
  });

  test("that says nothing allows nothing, and one Deny beats every Allow", () => {
    expect(isAllowed(parse([]), asks("arn:aws:s3:::b/k"))).toBe(false);
    expect(isAllowed(parse([{}]), asks("arn:aws:s3:::b/k"))).toBe(true);
    expect(isAllowed(parse([{}, { Effect: "Deny" }]), asks("arn:aws:s3:::b/k"))).toBe(false);
  });

  test("allows its actions, in any case and by wildcard, and no others", () => {
    const statements = parse([{ Action: ["S3:get*", "s3:PutObject"] }]);
    const actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "sts:GetObject"];
    expect(actions.map((action) => isAllowed(statements, asks("arn:aws:s3:::b/k", {}, action)))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  test("allows its resources, by * over slashes and ? for one character, case and all", () => {
    const statements = parse([{ Resource: "arn:aws:s3:::b/?/*" }]);
    const keys = ["x/a/b", "xx/a", "x/", "X/a", ""];
    expect(keys.map((key) => isAllowed(statements, asks(`arn:aws:s3:::b/${key}`)))).toEqual([
      true,
      false,
      true,
      true,
      false,
    ]);
    expect(isAllowed(parse([{ Resource: "arn:aws:s3:::b/A" }]), asks("arn:aws:s3:::b/a"))).toBe(false);
  });

  test("takes a dot, a bracket or a line break for itself", () => {
    const statements = parse([{ Resource: "arn:aws:s3:::b/a.(b)/*" }]);
    expect(isAllowed(statements, asks("arn:aws:s3:::b/a.(b)/line\nbreak"))).toBe(true);
    expect(isAllowed(statements, asks("arn:aws:s3:::b/ax(b)/"))).toBe(false);
  });
});

describe("a variable in Resource", () => {
  const statements = parse([{ Resource: "arn:aws:s3:::b/${aws:PrincipalTag/wallet}/*" }]);

  test("stands for the caller's tag", () => {
    expect(isAllowed(statements, asks(`arn:aws:s3:::b/${A}/k`, tagged(A)))).toBe(true);
    expect(isAllowed(statements, asks(`arn:aws:s3:::b/${B}/k`, tagged(A)))).toBe(false);
  });

  test("makes the statement void for a caller without the tag", () => {
    expect(isAllowed(statements, asks("arn:aws:s3:::b//k"))).toBe(false);
    expect(isAllowed(statements, asks("arn:aws:s3:::b/${aws:PrincipalTag/wallet}/k"))).toBe(false);
  });

  test.each(["*", "?xaaaa", "0x????"])("takes wildcards in a tag's value (%s) for plain characters", (value) => {
    expect(isAllowed(statements, asks(`arn:aws:s3:::b/${A}/k`, tagged(value)))).toBe(false);
    expect(isAllowed(statements, asks(`arn:aws:s3:::b/${value}/k`, tagged(value)))).toBe(true);
  });

  test("may be an escaped character", () => {
    const escaped = parse([{ Resource: "arn:aws:s3:::b/${*}${?}${$}" }]);
    expect(isAllowed(escaped, asks("arn:aws:s3:::b/*?$"))).toBe(true);
    expect(isAllowed(escaped, asks("arn:aws:s3:::b/abc"))).toBe(false);
  });
});

describe("a condition", () => {
  const holds = (Condition: unknown, keys: Record<string, string[]>) =>
    isAllowed(parse([{ Condition }]), asks("arn:x", keys));

  test.each([
    [{ StringEquals: { k: "a" } }, { k: ["a"] }, true],
    [{ StringEquals: { k: "a" } }, { k: ["A"] }, false],
    [{ StringEquals: { k: ["b", "a"] } }, { k: ["a"] }, true],
    [{ StringEquals: { k: "a" } }, {}, false],
    [{ StringEquals: { k: "a*" } }, { k: ["ab"] }, false],
    [{ StringEqualsIgnoreCase: { k: "a" } }, { k: ["A"] }, true],
    [{ StringEqualsIfExists: { k: "a" } }, {}, true],
    [{ StringEqualsIfExists: { k: "a" } }, { k: ["b"] }, false],
    [{ StringNotEquals: { k: "a" } }, { k: ["b"] }, true],
    [{ StringNotEquals: { k: "a" } }, { k: ["a"] }, false],
    [{ StringNotEquals: { k: "" } }, {}, true],
    [{ StringLike: { k: "a*" } }, { k: ["ab"] }, true],
    [{ StringNotLike: { k: "a*" } }, { k: ["ab"] }, false],
    [{ ArnLike: { k: "arn:*:x" } }, { k: ["arn:aws:x"] }, true],
    [{ Bool: { k: false } }, { k: ["false"] }, true],
    [{ Null: { k: "false" } }, { k: ["a"] }, true],
    [{ Null: { k: "false" } }, {}, false],
    [{ Null: { k: true } }, {}, true],
    [{ "ForAllValues:StringEquals": { k: ["a", "b"] } }, { k: ["a"] }, true],
    [{ "ForAllValues:StringEquals": { k: ["a", "b"] } }, { k: ["a", "c"] }, false],
    [{ "ForAllValues:StringEquals": { k: "a" } }, {}, true],
    [{ "ForAnyValue:StringEquals": { k: "a" } }, { k: ["b", "a"] }, true],
    [{ "ForAnyValue:StringEquals": { k: "a" } }, {}, false],
    [{ StringEquals: { k: "a", l: "b" } }, { k: ["a"] }, false],
    [{ StringEquals: { k: "a" }, Null: { l: "true" } }, { k: ["a"], l: ["b"] }, false],
    [{ StringEquals: { k: "${aws:PrincipalTag/wallet}" } }, { k: [A], ...tagged(A) }, true],
    [{ StringEquals: { k: "${aws:PrincipalTag/wallet}" } }, { k: [A], ...tagged(B) }, false],
    [{ StringLike: { k: "${aws:PrincipalTag/wallet}/*" } }, { k: [`${A}/x`], ...tagged(A) }, true],
    [{ StringLike: { k: "${aws:PrincipalTag/wallet}/*" } }, { k: [`${A}/x`], ...tagged("*") }, false],
    [{ StringNotEquals: { k: "${aws:PrincipalTag/wallet}" } }, { k: [A] }, false],
  ])("%j on %j is %s", (condition, keys, expected) => {
    expect(holds(condition, keys)).toBe(expected);
  });
});

describe("a policy that the stand-in does not know how to judge is refused when attached", () => {
  test.each<[string, () => unknown]>([
    ["no JSON", () => parsePolicy("{", "permissions")],
    ["a list", () => parsePolicy("[]", "permissions")],
    ["the old version", () => parse([{}], "permissions", { Version: "2008-10-17" })],
    ["an unknown member", () => parse([{}], "permissions", { Statements: [] })],
    ["NotAction", () => parse([{ Action: undefined, NotAction: "s3:*" }])],
    ["NotResource", () => parse([{ NotResource: "*" }])],
    ["no Resource", () => parse([{ Resource: undefined }])],
    ["no Action", () => parse([{ Action: [] }])],
    ["an action without its service", () => parse([{ Action: "GetObject" }])],
    ["a resource that is no ARN", () => parse([{ Resource: "bucket/*" }])],
    ["another effect", () => parse([{ Effect: "allow" }])],
    ["an unknown operator", () => parse([{ Condition: { StringEqual: { k: "a" } } }])],
    ["Null over a set", () => parse([{ Condition: { "ForAnyValue:Null": { k: "true" } } }])],
    ["a number as a value", () => parse([{ Condition: { StringEquals: { k: 1 } } }])],
    ["a variable with a default", () => parse([{ Resource: "arn:aws:s3:::b/${aws:PrincipalTag/w, 'x'}/*" }])],
    ["a trust policy for anybody", () => parse([{ Resource: undefined, Principal: "*" }], "trust")],
    ["a trust policy for an account", () => parse([{ Resource: undefined, Principal: { AWS: "1" } }], "trust")],
    ["a trust policy with a resource", () => parse([{ Principal: { Federated: "arn:x" } }], "trust")],
  ])("%s", (_, attach) => {
    expect(attach).toThrow(expect.objectContaining({ code: "MalformedPolicyDocument" }));
  });
});
