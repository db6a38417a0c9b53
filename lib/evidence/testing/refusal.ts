import { AttestationError, type AttestationErrorCode } from "../evidence.ts";

/** Why `verify` refuses; fails the test when it does not, or with another kind of error. */
export function refusal(verify: () => unknown): { code: AttestationErrorCode; message: string } {
  try {
    verify();
  } catch (error) {
    if (error instanceof AttestationError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("was not refused");
}
