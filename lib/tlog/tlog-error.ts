/** Why something about a log was refused. Programs match on it. */
export type TlogErrorCode =
  /** It cannot be read: it is not in the one form that the specification allows. */
  | "MALFORMED"
  /** No signature by the expected key, or one that does not verify. */
  | "SIGNATURE"
  /** A checkpoint of another log. */
  | "ORIGIN"
  /** The proof does not lead to the root. */
  | "PROOF";

/** The one error of this folder. The message says what was expected, in words for a person. */
export class TlogError extends Error {
  override readonly name = "TlogError";

  constructor(
    readonly code: TlogErrorCode,
    message: string,
  ) {
    super(message);
  }
}
