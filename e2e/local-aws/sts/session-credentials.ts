import { EncryptJWT, errors, jwtDecrypt } from "jose";

import type { Clock } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";

import { randomName } from "../names.ts";

/** What temporary credentials stand for. */
export interface RoleSession {
  roleArn: string;
  /** `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION` */
  arn: string;
  /** `AROA…:SESSION` */
  userId: string;
  tags: Readonly<Record<string, string>>;
  /** A policy document, or none. */
  policy?: string;
}

export interface TemporaryCredentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string;
  /** Epoch milliseconds, whole seconds. */
  expiresAt: number;
}

/** Makes temporary credentials and knows them again. As on AWS, everything about them is in the encrypted session token. */
export interface SessionCredentials {
  issue(session: RoleSession, durationSeconds: number): Promise<TemporaryCredentials>;
  /** `"expired"` or `"invalid"` for a token that gives no access. */
  open(
    sessionToken: string,
  ): Promise<(RoleSession & Pick<TemporaryCredentials, "accessKeyId" | "secretAccessKey">) | "expired" | "invalid">;
}

/** `key`: 32 bytes; credentials outlive a restart when it stays the same. */
export function createSessionCredentials(d: {
  key: Uint8Array;
  clock: Clock;
  random: RandomBytes;
}): SessionCredentials {
  return {
    async issue(session, durationSeconds) {
      const expiresAt = (Math.floor(d.clock() / 1000) + durationSeconds) * 1000;
      const accessKeyId = randomName("ASIA", d.random);
      const secretAccessKey = Buffer.from(d.random(30)).toString("base64");
      const sessionToken = await new EncryptJWT({ session, accessKeyId, secretAccessKey })
        .setProtectedHeader({ alg: "dir", enc: "A256GCM" })
        .setExpirationTime(expiresAt / 1000)
        .encrypt(d.key);
      return { accessKeyId, secretAccessKey, sessionToken, expiresAt };
    },
    async open(sessionToken) {
      try {
        const { payload } = await jwtDecrypt<{ session: RoleSession; accessKeyId: string; secretAccessKey: string }>(
          sessionToken,
          d.key,
          { currentDate: new Date(d.clock()), requiredClaims: ["exp"] },
        );
        return { ...payload.session, accessKeyId: payload.accessKeyId, secretAccessKey: payload.secretAccessKey };
      } catch (error) {
        return error instanceof errors.JWTExpired ? "expired" : "invalid";
      }
    },
  };
}
