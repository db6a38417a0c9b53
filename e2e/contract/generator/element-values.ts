import { type DescEnum, type DescMessage, ScalarType } from "@bufbuild/protobuf";

import { proposeBytes } from "./bytes-values.ts";
import { proposeBools, proposeEnums } from "./enum-values.ts";
import { type Nest, proposeMessages } from "./message-values.ts";
import { proposeNumbers } from "./number-values.ts";
import type { Proposals } from "./proposals.ts";
import type { DeclaredRules } from "./rules.ts";
import { proposeStrings } from "./string-values.ts";

/** What one value may be: a singular field's, a list item's, or a map entry's. */
export type Element = { scalar: ScalarType } | { enum: DescEnum } | { message: DescMessage };

/** Values to try for one element. Throws `UnknownRule`. */
export function proposeElement(element: Element, declared: DeclaredRules, nest: Nest): Proposals {
  if ("message" in element) return proposeMessages(element.message, declared, nest);
  if ("enum" in element) return proposeEnums(declared, element.enum);
  switch (element.scalar) {
    case ScalarType.STRING:
      return proposeStrings(declared);
    case ScalarType.BYTES:
      return proposeBytes(declared);
    case ScalarType.BOOL:
      return proposeBools(declared);
    default:
      return proposeNumbers(declared, element.scalar);
  }
}
