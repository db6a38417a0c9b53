import type { JWK } from "jose";

import type { OmniAccount } from "@agentkeys/lib/account";
import type { EvmAddress } from "@agentkeys/lib/ethereum";
import { Secret } from "@agentkeys/lib/secret";

/** What this machine keeps of a sign-in. There is no wallet key in it, for there is none on the machine. */
export interface Enrolment {
  /** The broker that the session is for; it is sent to no other. */
  brokerUrl: string;
  /** What the broker calls itself in tokens and challenges. */
  issuer: string;
  /** The account's anchor. */
  omniAccount: OmniAccount;
  /** What the person signed in with. */
  identity: EnrolledIdentity;
  session: IdentitySession;
  /** The private P-256 key that the session is bound to (DPoP). It proves "this machine asks" and signs no transaction. */
  deviceKey: Secret<JWK>;
  /** The wallet that the key service derived for the account, as it was when it was first linked; absent until then. */
  walletAddress?: EvmAddress;
}

export interface EnrolledIdentity {
  type: string;
  value: string;
  /** What it is called for people, where its value says little. */
  name?: string;
}

/** An identity session. Times in epoch milliseconds. */
export interface IdentitySession {
  token: Secret;
  obtainedAt: number;
  expiresAt: number;
  /** Until when it can be renewed, as far as the broker has said. */
  renewableUntil?: number;
}

/** The version of the file's form: another one is refused, not guessed at. */
export const RECORD_VERSION = 1;

/** Why a record cannot be read. */
export type RecordFault = { fault: "damaged" } | { fault: "other-version"; version: string };

/** The text of the state file. */
export function formatRecord(e: Enrolment): string {
  const { token, obtainedAt, expiresAt, renewableUntil } = e.session;
  const record = {
    version: RECORD_VERSION,
    broker_url: e.brokerUrl,
    issuer: e.issuer,
    omni_account: e.omniAccount,
    identity: e.identity,
    session: {
      token: token.reveal(),
      obtained_at: isoTime(obtainedAt),
      expires_at: isoTime(expiresAt),
      ...(renewableUntil !== undefined && { renewable_until: isoTime(renewableUntil) }),
    },
    device_key: e.deviceKey.reveal(),
    ...(e.walletAddress !== undefined && { wallet_address: e.walletAddress }),
  };
  return JSON.stringify(record, null, 2) + "\n";
}

/**
 * Reads the text of the state file, checking every field. The patterns stand here and not in lib/account and lib/ethereum, whose
 * cryptography takes longer to load than `agentkeys creds` takes to answer.
 */
export function parseRecord(text: string): Enrolment | RecordFault {
  const record = new Fields(parseJson(text));
  const version = record.value("version");
  if (version !== undefined && version !== RECORD_VERSION) {
    return { fault: "other-version", version: JSON.stringify(version).slice(0, 20) };
  }
  const identity = new Fields(record.value("identity"));
  const session = new Fields(record.value("session"));
  const key = new Fields(record.value("device_key"));
  const renewableUntil = session.optional("renewable_until", (name) => session.time(name));
  const walletAddress = record.optional("wallet_address", (name) => record.text(name, /^0x[0-9a-f]{40}$/));
  const name = identity.optional("name", (field) => identity.text(field, /^\S.*$/));
  const parsed: Enrolment = {
    brokerUrl: record.text("broker_url", /^https?:\/\/[^\s?#]+$/),
    issuer: record.text("issuer", /^https?:\/\/[^\s?#]+$/),
    omniAccount: record.text("omni_account", /^[0-9a-f]{64}$/) as OmniAccount,
    identity: {
      type: identity.text("type", /^[a-z0-9]+$/),
      value: identity.text("value", /^\S.*$/),
      ...(name !== undefined && { name }),
    },
    session: {
      token: new Secret(session.text("token", /^[\w-]+\.[\w-]+\.[\w-]+$/)),
      obtainedAt: session.time("obtained_at"),
      expiresAt: session.time("expires_at"),
      ...(renewableUntil !== undefined && { renewableUntil }),
    },
    deviceKey: new Secret(privateJwk(key)),
    ...(walletAddress !== undefined && { walletAddress: walletAddress as EvmAddress }),
  };
  const whole = [record, identity, session, key].every((fields) => fields.whole);
  return whole && version === RECORD_VERSION ? parsed : { fault: "damaged" };
}

function privateJwk(fields: Fields): JWK {
  const part = (name: string): string => fields.text(name, /^[\w-]{43}$/);
  return { kty: "EC", crv: "P-256", x: part("x"), y: part("y"), d: part("d") };
}

/** Takes fields out of an object, and remembers whether all of them were as they should be. */
class Fields {
  readonly #object: Readonly<Record<string, unknown>>;
  whole: boolean;

  constructor(value: unknown) {
    this.whole = typeof value === "object" && value !== null;
    this.#object = this.whole ? (value as Record<string, unknown>) : {};
  }

  value(name: string): unknown {
    return Object.hasOwn(this.#object, name) ? this.#object[name] : undefined;
  }

  text(name: string, pattern: RegExp): string {
    const value = this.value(name);
    if (typeof value === "string" && pattern.test(value)) return value;
    this.whole = false;
    return "";
  }

  time(name: string): number {
    const time = Date.parse(this.text(name, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/));
    if (Number.isNaN(time)) this.whole = false;
    return time;
  }

  optional<T>(name: string, read: (name: string) => T): T | undefined {
    return this.value(name) === undefined ? undefined : read(name);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isoTime(time: number): string {
  return new Date(time).toISOString();
}
