/** An error as a log may show it: where it came from, and none of the properties that libraries hang on errors. */
export interface LoggableError {
  type: string;
  message: string;
  stack?: string;
  cause?: LoggableError;
}

/**
 * Takes type, message, stack and causes (four deep) of whatever was thrown. Text in the form of a JWT is left out: errors of
 * HTTP clients and verifiers tend to quote tokens.
 */
export function loggableError(error: unknown, depth = 4): LoggableError {
  if (!(error instanceof Error)) return { type: typeof error, message: "something that is no Error was thrown" };
  const { name, message, stack, cause } = error;
  return {
    type: name,
    message: withoutTokens(message),
    ...(stack !== undefined && { stack: withoutTokens(stack) }),
    ...(cause !== undefined && depth > 1 && { cause: loggableError(cause, depth - 1) }),
  };
}

function withoutTokens(text: string): string {
  return text.replace(/eyJ[\w-]+\.[\w-]*\.[\w-]*/g, "[token]");
}
