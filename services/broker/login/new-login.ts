import { MINUTE } from "@agentkeys/lib/clock";
import { type RandomBytes, randomId, randomSecret } from "@agentkeys/lib/random";
import { Secret } from "@agentkeys/lib/secret";

import type { Caller } from "../audit/index.ts";
import type { DeviceName } from "./device-name.ts";
import { hashOf, newUserCode } from "./secrets.ts";
import type { Login, LoginPurpose } from "./store.ts";

/** How long a person has to confirm, and the program to collect. */
export const LOGIN_LIFE_MS = 15 * MINUTE;

/** What every way to start a sign-in is told. */
export interface LoginRequest {
  purpose: LoginPurpose;
  deviceName: DeviceName;
  /** Of the key that starts the sign-in, which alone may collect the session. */
  dpopThumbprint: string | undefined;
  caller: Caller;
}

/** What the program that started it keeps. */
export interface StartedLogin {
  loginId: string;
  loginSecret: Secret;
  userCode: string;
  expiresAt: number;
}

/** A sign-in that waits for its person, with the two secrets of which it keeps the hashes. */
export function newLogin(
  kind: Pick<Login, "method" | "identity" | "provider">,
  { purpose, deviceName, dpopThumbprint, caller }: LoginRequest,
  { now, random }: { now: number; random: RandomBytes },
): { login: Login; loginSecret: string; linkToken: string } {
  const [loginSecret, linkToken] = [randomSecret(random), randomSecret(random)];
  const login: Login = {
    loginId: randomId(random),
    ...kind,
    purpose,
    secretHash: hashOf(loginSecret),
    confirmHash: hashOf(linkToken),
    userCode: newUserCode(random),
    ...(dpopThumbprint !== undefined && { dpopThumbprint }),
    deviceName,
    sourceAddress: caller.sourceAddress,
    userAgent: caller.userAgent,
    status: "pending",
    createdAt: now,
    expiresAt: now + LOGIN_LIFE_MS,
  };
  return { login, loginSecret, linkToken };
}

export function startedLogin({ loginId, userCode, expiresAt }: Login, loginSecret: string): StartedLogin {
  return { loginId, loginSecret: new Secret(loginSecret), userCode, expiresAt };
}
