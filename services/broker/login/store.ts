import type { Email } from "../identity/index.ts";
import type { DeviceName } from "./device-name.ts";

/** Where a sign-in stands. `collected` and `refused` are ends; a pending or confirmed one also ends by its expiry. */
export type LoginStatus = "pending" | "confirmed" | "refused" | "collected";

/** A sign-in under way. Its secrets are here as SHA-256 hashes only, in lower-case hex. */
export interface Login {
  loginId: string;
  email: Email;
  /** Of the secret that collects the session. */
  secretHash: string;
  /** Of the secret in the mailed link. */
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
  remove(loginId: string): Promise<void>;
  /** Forgets those that expired before `time`; returns how many. */
  purge(time: number): Promise<number>;
}
