import { checksumAddress, type EvmAddress } from "@agentkeys/lib/ethereum";

/** What a sign-in message says (EIP-4361). */
export interface SignInMessage {
  domain: string;
  address: EvmAddress;
  uri: string;
  nonce: string;
  requestId: string;
  /** Epoch milliseconds. */
  issuedAt: number;
  /** Epoch milliseconds. */
  expiresAt: number;
}

/** Far above what a broker makes, and far below what would take long to look at. */
const MAX_LENGTH = 2048;

/**
 * The one form of EIP-4361 that brokers make, line for line: no scheme before the domain, a statement, an expiration time
 * and a request id; no not-before, no resources. The address has its EIP-55 checksum, times are UTC with milliseconds, and text
 * is printable ASCII: what two readers could read in two ways is not there.
 * @returns undefined for anything else, in whatever point it differs.
 */
export function parseSignInMessage(message: Uint8Array): SignInMessage | undefined {
  if (message.length > MAX_LENGTH || message.some((byte) => byte > 0x7e)) return undefined;
  const found = grammar.exec(Buffer.from(message).toString("latin1"))?.groups;
  if (found === undefined) return undefined;
  const { domain = "", address: written = "", uri = "", nonce = "", requestId = "" } = found;
  const address = written.toLowerCase() as EvmAddress;
  const [issuedAt, expiresAt] = [timeOf(found["issuedAt"]), timeOf(found["expiresAt"])];
  if (checksumAddress(address) !== written || issuedAt === undefined || expiresAt === undefined) return undefined;
  return { domain, address, uri, nonce, requestId, issuedAt, expiresAt };
}

/** Whether a message's first line asks to sign in to this domain, in whatever form: no such one is ever a general message. */
export function asksToSignIn(message: Uint8Array, domain: string): boolean {
  const text = Buffer.from(message).toString("utf8").normalize("NFKC").toLowerCase();
  return text.includes("wants you to sign in") && text.includes(domain.toLowerCase());
}

/** RFC 3986: the characters of a host and port (brokers with an IPv6 literal for a name there are none), and of a path segment. */
const HOST_AND_PORT = String.raw`[A-Za-z0-9.\-]+(?::[0-9]{1,5})?`;
const PCHAR = String.raw`(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})`;
const URI = `https?://${HOST_AND_PORT}(?:/${PCHAR}*)*`;
/** RFC 3339 as `Date.prototype.toISOString` writes it. */
const TIME = String.raw`\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z`;

const grammar = new RegExp(
  [
    `^(?<domain>${HOST_AND_PORT}) wants you to sign in with your Ethereum account:`,
    `(?<address>0x[0-9a-fA-F]{40})`,
    ``,
    // EIP-4361 allows reserved and unreserved characters of RFC 3986, and spaces.
    String.raw`[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;= ]{1,512}`,
    ``,
    `URI: (?<uri>${URI})`,
    `Version: 1`,
    `Chain ID: (?:0|[1-9][0-9]{0,15})`,
    `Nonce: (?<nonce>[A-Za-z0-9]{16,128})`,
    `Issued At: (?<issuedAt>${TIME})`,
    `Expiration Time: (?<expiresAt>${TIME})`,
    `Request ID: (?<requestId>${PCHAR}{16,128})$`,
  ].join("\n"),
);

/** Undefined for a time that there is not, February 30th for example. */
function timeOf(text = ""): number | undefined {
  const time = Date.parse(text);
  return Number.isNaN(time) || new Date(time).toISOString() !== text ? undefined : time;
}
