/**
 * A number that only goes up and that no one can put back: a TPM's NV counter. It is what tells the newest state of a disk from
 * an older copy of it.
 */
export interface MonotonicCounter {
  read(): Promise<bigint>;
  /** Adds one. @returns the new value. */
  increment(): Promise<bigint>;
}
