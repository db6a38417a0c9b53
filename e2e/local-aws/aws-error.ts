/**
 * A refusal as AWS words it: `code` is what programs match on (the SDKs make an exception class or name of it), `status` the
 * HTTP status that goes with it.
 */
export class AwsError extends Error {
  override readonly name = "AwsError";

  constructor(
    readonly code: string,
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}
