import type { IdentityName } from "../identity/index.ts";
import type { NewPasskey } from "../passkey/index.ts";
import type { DeviceName } from "./device-name.ts";

/**
 * Where a sign-in stands. `identified`: an identity provider has said who it is, and the person has not agreed yet. `collected` and
 * `refused` are ends; the others also end by their expiry.
 */
export type LoginStatus = "pending" | "identified" | "confirmed" | "refused" | "collected";

/** How a person proves who they are. */
export type LoginMethod = "email" | "oauth2" | "wallet" | "passkey";

/** What a sign-in is for: nothing else can be done with it, and the page that asks the person says so. */
export type LoginPurpose = "sign-in" | "link" | "step-up";

/** Who a sign-in is for. */
export type LoginIdentity = Omit<IdentityName, "omniAccount">;

/** The browser that a signature came from, by the hash of its secret, and the passkey that it made, where it made one. */
export type ProvingBrowser = Pick<Login, "browserHash" | "newPasskey">;

/** A sign-in under way. Its secrets are here as SHA-256 hashes only, in lower-case hex. */
export interface Login {
  loginId: string;
  method: LoginMethod;
  purpose: LoginPurpose;
  /** Known from the start by mail; at a provider, once that has answered; by a signature, once that was checked. */
  identity?: LoginIdentity;
  /** The passkey that this sign-in made, until it is linked; with `passkey` and `link` only. */
  newPasskey?: NewPasskey;
  /** The name of the identity provider; with `oauth2` only. */
  provider?: string;
  /** Of the secret of the browser that came back from the provider and alone may confirm, or that confirmed by a passkey. */
  browserHash?: string;
  /** Of the secret that collects the session. */
  secretHash: string;
  /** Of the secret in the link to the broker's page. */
  confirmHash: string;
  /** XXXX-XXXX, on both screens. */
  userCode: string;
  /** The key that started it, which alone may collect; absent when it was started without a DPoP proof. */
  dpopThumbprint?: string;
  deviceName: DeviceName;
  sourceAddress: string;
  userAgent: string;
  status: LoginStatus;
  createdAt: number;
  expiresAt: number;
  decidedAt?: number;
}

export interface LoginStore {
  insert(login: Login): Promise<void>;
  find(loginId: string): Promise<Login | undefined>;
  findByConfirmHash(confirmHash: string): Promise<Login | undefined>;
  /** Moves a sign-in on, if it is still where `from` says and has not expired: true for exactly one caller. */
  advance(loginId: string, from: LoginStatus, to: LoginStatus, now: number): Promise<boolean>;
  /** Notes whom the provider named, to which browser: moves a pending sign-in to `identified`, true for exactly one caller. */
  identify(loginId: string, identity: LoginIdentity, browserHash: string, now: number): Promise<boolean>;
  /** Notes who proved themselves by signing: moves a pending sign-in to `confirmed`, true for exactly one caller. */
  prove(loginId: string, identity: LoginIdentity, now: number, from?: ProvingBrowser): Promise<boolean>;
  remove(loginId: string): Promise<void>;
  /** Forgets those that expired before `time`; returns how many. */
  purge(time: number): Promise<number>;
}

/** A browser's way to an identity provider and back (RFC 6749 section 4.1), by the SHA-256 of its `state`. */
export interface OauthRequest {
  stateHash: string;
  loginId: string;
  provider: string;
  /** Of the secret of the browser that set out. */
  browserHash: string;
  expiresAt: number;
}

export interface OauthRequestStore {
  insert(request: OauthRequest): Promise<void>;
  /** Spends a request that is neither spent nor expired, of this browser and provider: to exactly one caller. */
  spend(key: Omit<OauthRequest, "loginId" | "expiresAt">, now: number): Promise<OauthRequest | undefined>;
  /** Forgets those that expired before `time`; returns how many. */
  purge(time: number): Promise<number>;
}
