/** Why a log is not opened, or not used any more. */
export type SignLogErrorCode =
  /** There is none, where one must be: taking nothing for a new log would hide that the old one was taken away. */
  | "MISSING"
  /** What is on the disk is not what the log's key signed: cut off, changed, put in another order, or another log's. */
  | "DAMAGED"
  /** It is a whole log of ours, but not the newest that there was: an older copy was put back, or entries were cut off. */
  | "ROLLED_BACK"
  /** The counter stands lower than the log: it is not the counter that this log was kept with. */
  | "OTHER_COUNTER";

/** The message is for the operator: what was found, and what was expected. */
export class SignLogError extends Error {
  override readonly name = "SignLogError";

  constructor(
    readonly code: SignLogErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}
