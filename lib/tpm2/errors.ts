import { commandCode, type CommandCode } from "./constants.ts";

/** What a TPM answered instead of doing it, in words. `responseCode` is for programs (TPM 2.0 Part 2, section 6.6). */
export class TpmError extends Error {
  override readonly name = "TpmError";

  constructor(
    readonly responseCode: number,
    readonly command: CommandCode,
  ) {
    super(`the TPM refuses ${commandName(command)}: ${describe(responseCode)}`);
  }

  /** Whether it is this kind of error, for whichever handle, session or parameter. */
  is(kind: TpmErrorKind): boolean {
    return baseOf(this.responseCode) === kinds[kind];
  }
}

/** The answer is none that a TPM gives: it was changed on its way, or something else answers. */
export class TpmChannelError extends Error {
  override readonly name = "TpmChannelError";
}

const FORMAT_ONE = 0x080;
const WARNING = 0x900;
const VERSION_ONE = 0x100;

/** Format-zero codes as they are; format-one codes with their lowest six bits. */
const kinds = {
  initialize: 0x100,
  policy: 0x126,
  pcrChanged: 0x128,
  nvUnwritten: 0x14a,
  nvDefined: 0x14c,
  nvRate: 0x920,
  retry: 0x922,
  testing: 0x90a,
  yielded: 0x908,
  value: FORMAT_ONE | 0x04,
  handle: FORMAT_ONE | 0x0b,
  signature: FORMAT_ONE | 0x1b,
  policyFail: FORMAT_ONE | 0x1d,
  integrity: FORMAT_ONE | 0x1f,
  ticket: FORMAT_ONE | 0x20,
} as const;

export type TpmErrorKind = keyof typeof kinds;

const words: Readonly<Record<number, string>> = {
  0x100: "it was not started up",
  0x101: "it failed its self-test",
  0x120: "it was disabled",
  0x121: "a command was out of order",
  0x124: "the authorization is of a kind that the object does not take",
  0x126: "the policy is not satisfied",
  0x128: "a PCR changed after the policy looked at it",
  0x12f: "the object takes no such authorization; a policy is needed",
  0x143: "it does not know the command",
  0x14a: "the NV index was never written",
  0x14b: "its NV memory is full",
  0x14c: "the NV index is defined already",
  0x902: "it has no room for another object: something was not flushed",
  0x903: "it has no room for another session: something was not flushed",
  0x908: "it gave way to another command",
  0x90a: "it is testing itself",
  0x920: "its NV memory is written too often",
  0x921: "it is locked out after too many failed authorizations; an administrator must reset that",
  0x922: "it is busy",
  0x923: "its NV memory cannot be written now",
  [FORMAT_ONE | 0x01]: "an algorithm is not supported",
  [FORMAT_ONE | 0x02]: "attributes do not go together",
  [FORMAT_ONE | 0x03]: "the hash is not supported",
  [FORMAT_ONE | 0x04]: "a value is out of range, or not the one that is asked for",
  [FORMAT_ONE | 0x05]: "the hierarchy is disabled or wrong",
  [FORMAT_ONE | 0x07]: "a key size is not supported",
  [FORMAT_ONE | 0x0a]: "the object is of the wrong type",
  [FORMAT_ONE | 0x0b]: "there is no such handle",
  [FORMAT_ONE | 0x0e]: "the authorization failed, and counts as a failed try",
  [FORMAT_ONE | 0x12]: "a scheme is not supported",
  [FORMAT_ONE | 0x15]: "a structure has the wrong size",
  [FORMAT_ONE | 0x16]: "the cipher is not supported",
  [FORMAT_ONE | 0x1a]: "a structure ends too early",
  [FORMAT_ONE | 0x1b]: "the signature is not by that key",
  [FORMAT_ONE | 0x1d]: "the policy of this session is not the one that the object asks for",
  [FORMAT_ONE | 0x1f]: "the data is not this TPM's own, or was changed",
  [FORMAT_ONE | 0x20]: "a ticket is not this TPM's own",
  [FORMAT_ONE | 0x22]: "the authorization failed",
  [FORMAT_ONE | 0x26]: "the curve is not supported",
  [FORMAT_ONE | 0x27]: "the point is not on its curve",
};

function describe(responseCode: number): string {
  const hex = `0x${responseCode.toString(16)}`;
  const text = words[baseOf(responseCode)] ?? "for a reason that has no words here";
  return `${text} (${hex}${placeOf(responseCode)})`;
}

/** Without the number of the handle, session or parameter (Part 2, section 6.6.2). */
function baseOf(responseCode: number): number {
  return (responseCode & FORMAT_ONE) === 0
    ? responseCode & (WARNING | VERSION_ONE | 0x7f)
    : FORMAT_ONE | (responseCode & 0x3f);
}

function placeOf(responseCode: number): string {
  if ((responseCode & FORMAT_ONE) === 0) return "";
  const number = (responseCode >>> 8) & 0xf;
  if ((responseCode & 0x40) !== 0) return `, parameter ${number}`;
  return number >= 8 ? `, session ${number - 8}` : `, handle ${number}`;
}

function commandName(code: CommandCode): string {
  const found = Object.entries(commandCode).find(([, candidate]) => candidate === code);
  return found === undefined
    ? `command 0x${code.toString(16)}`
    : `TPM2_${found[0].replace(/^./, (c) => c.toUpperCase())}`;
}
