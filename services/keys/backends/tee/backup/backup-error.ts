/** Something of a backup is not what it should be. The message is for an operator; it holds no secret. */
export class BackupError extends Error {
  override readonly name = "BackupError";
}
