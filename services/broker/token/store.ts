import type { OmniAccount } from "@agentkeys/lib/account";
import type { EvmAddress } from "@agentkeys/lib/ethereum";
import type { SessionKind } from "@agentkeys/lib/session";

/** A session as the broker remembers it; the token itself is never kept. */
export interface SessionRecord {
  sessionId: string;
  /** `browser`: signed in to the account's page, by a cookie. */
  kind: SessionKind | "browser";
  subject: OmniAccount;
  anchor: OmniAccount;
  identity?: OmniAccount;
  wallet?: EvmAddress;
  /** The identity session that it came from; it ends with that. */
  parentId?: string;
  dpopThumbprint?: string;
  /** SHA-256 of the cookie, in lower-case hex; of a browser's session only. */
  cookieHash?: string;
  deviceName: string;
  sourceAddress: string;
  /** When the person signed in; renewing does not change it. */
  signedInAt: number;
  /** When the person last proved who they are, by signing in or stepping up. */
  provenAt: number;
  /** Made by a sign-in to a frozen account. */
  restricted: boolean;
  /** When a call was last made under it, to the minute; absent: never. */
  lastUsedAt?: number;
  /** Of the last OIDC JWT that was minted under it; empty: none. */
  lastAudience: string;
  createdAt: number;
  expiresAt: number;
  revokedAt?: number;
  /** The session that it was renewed to; absent on one that was ended. */
  replacedBy?: string;
}

export interface SessionStore {
  insert(session: SessionRecord): Promise<void>;
  find(sessionId: string): Promise<SessionRecord | undefined>;
  /** What a session goes on as: the last one that it was renewed to, or itself. Live or not. */
  latest(sessionId: string): Promise<SessionRecord | undefined>;
  /** The browser's session whose cookie has this SHA-256, live or not. */
  findByCookie(cookieHash: string): Promise<SessionRecord | undefined>;
  /** Sessions that still work, the newest first. */
  listLive(anchor: OmniAccount, now: number): Promise<SessionRecord[]>;
  /** Ends a live session and all that came from it; returns their ids, none when there was nothing to end. */
  revoke(sessionId: string, now: number): Promise<string[]>;
  /**
   * Ends `sessionId` in favour of `successor`, which takes over what came from it. False when it was no longer live: then
   * nothing has changed.
   */
  replace(sessionId: string, successor: SessionRecord, now: number): Promise<boolean>;
  /** Ends every live session of the account; only those that `identity` signed in, and what came from them, where it is given. */
  revokeAll(anchor: OmniAccount, now: number, identity?: OmniAccount): Promise<string[]>;
  /** Ends every live session of the wallet. */
  revokeWallet(wallet: EvmAddress, now: number): Promise<string[]>;
  /** Notes that the person proved anew who they are. */
  prove(sessionId: string, now: number): Promise<void>;
  /** Notes that it was used, at most once a minute. */
  touch(sessionId: string, now: number): Promise<void>;
  /** Notes that a live session was used, and when it ends now. */
  extend(sessionId: string, expiresAt: number, now: number): Promise<void>;
  /** Gives the session of a browser another cookie: true where it is still live. */
  changeCookie(sessionId: string, cookieHash: string, now: number): Promise<boolean>;
  /** Notes for whom it minted, on the session that it came from as well. */
  noteAudience(sessionId: string, audience: string): Promise<void>;
  /** The ids of revoked sessions whose tokens have not expired. */
  listRevoked(now: number): Promise<string[]>;
  /** Forgets those that expired before `time`; returns how many. */
  purge(time: number): Promise<number>;
}

/** What a key is for. A key never serves two purposes: a session must not be federated as an OIDC token. */
export type KeyPurpose = "session" | "oidc";

/** A signing key as it is stored. */
export interface StoredKey {
  kid: string;
  purpose: KeyPurpose;
  /** JSON. */
  publicJwk: string;
  /** Sealed by the key sealer. */
  privateKey: string;
  createdAt: number;
  /** From when it signs. */
  activeFrom: number;
}

export interface SigningKeyStore {
  list(purpose: KeyPurpose): Promise<StoredKey[]>;
  insert(key: StoredKey): Promise<void>;
  updatePrivateKey(kid: string, privateKey: string): Promise<void>;
  remove(kid: string): Promise<void>;
}
