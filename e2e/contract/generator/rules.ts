import { type DescField, type DescMessage, type Message } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { type FieldRules, FieldRulesSchema, Ignore } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

/**
 * A rule that the generator cannot make values for. It stops the test run: a rule that nobody tries is a rule that may
 * be missing from the server.
 */
export class UnknownRule extends Error {
  override readonly name = "UnknownRule";

  constructor(
    readonly place: string,
    readonly rule: string,
  ) {
    super(
      `${place} declares the rule "${rule}", which the contract tests cannot make values for. ` +
        "Teach it to e2e/contract/generator, or use a rule that is known there.",
    );
  }
}

/** The `buf.validate` rules of one value: of a field, of a list's items, or of a map's keys or values. */
export interface DeclaredRules {
  /** Whose rules these are, for error messages: `agentkeys.keys.v1.SignMessageRequest.message_hex`. */
  place: string;
  /** The rules that go with the value's type. */
  type?: TypeRules;
  /** Whether the value must be set. */
  required: boolean;
  /** How many CEL expressions of its own it has, by the name of the list they stand in. */
  cel: { cel: number; cel_expression: number };
}

/** The part of a value's rules that depends on its type. */
export interface TypeRules {
  /** `string`, `uint32`, `repeated`, …: the field of `buf.validate.FieldRules`. */
  kind: string;
  /** The names of the rules that are set, as in the proto: `min_len`, `pattern`. */
  names: readonly string[];
  /** `buf.validate.StringRules` and the like. */
  rules: Message;
}

/** Reads a value's rules. Throws `UnknownRule` for an extension of a newer or foreign protovalidate. */
export function readRules(place: string, options: FieldRules | undefined): DeclaredRules {
  if (options === undefined || options.ignore === Ignore.ALWAYS) {
    return { place, required: false, cel: { cel: 0, cel_expression: 0 } };
  }
  refuseExtensions(place, options);
  const declared: DeclaredRules = {
    place,
    required: options.required,
    cel: { cel: options.cel.length, cel_expression: options.celExpression.length },
  };
  if (options.type.case === undefined) return declared;
  const rules: Message = options.type.value;
  const kind = FieldRulesSchema.fields.find((field) => field.localName === options.type.case)?.name ?? "";
  refuseExtensions(`${place} (${kind})`, rules);
  const names = setFields(FieldRulesSchema, options, kind).map((field) => field.name);
  return { ...declared, type: { kind, names, rules } };
}

/** The rules set inside the member `kind` of a `FieldRules`. */
function setFields(schema: DescMessage, options: FieldRules, kind: string): DescField[] {
  const member = schema.fields.find((field) => field.name === kind);
  if (member?.fieldKind !== "message") return [];
  const inner = reflect(schema, options).get(member);
  return member.message.fields.filter((field) => inner.isSet(field));
}

function refuseExtensions(place: string, rules: Message): void {
  const [extension] = rules.$unknown ?? [];
  if (extension !== undefined) throw new UnknownRule(place, `extension number ${extension.no}`);
}
