import { Problem } from "../problem.ts";

/** Whether an error is the operating system's, by one of these codes. */
export function isSystemError(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}

/** What stands in the way of reading or writing the state, in words. */
export function unusable(path: string, cause: unknown): Problem {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const why = {
    EROFS: "its file system is read-only",
    EACCES: "this user is not allowed to",
    EPERM: "this user is not allowed to",
    ENOSPC: "the disk is full",
    EDQUOT: "this user's share of the disk is full",
    ENOENT: "its folder cannot be made",
    ENOTDIR: "a part of the path is not a folder",
    ELOOP: "it is a symbolic link",
  }[code];
  return new Problem(
    "STATE_UNUSABLE",
    "configuration",
    `The state in ${path} cannot be used: ${why ?? `the system says ${code || "no"}`}.`,
    {
      remedy: "Nothing was changed. Put that right, or set AGENTKEYS_STATE_DIR to another folder.",
      cause,
    },
  );
}
