import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";

import { LoginPurpose as WirePurpose, type LoginService } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { SECOND } from "@agentkeys/lib/clock";
import type { Secret } from "@agentkeys/lib/secret";
import { dpopProof } from "@agentkeys/lib/session";

import { parseEmail } from "../identity/index.ts";
import {
  awaitLogin,
  type LoginPurpose,
  type OauthParts,
  parseDeviceName,
  startEmailLogin,
  startOauthLogin,
  startPasskeyLogin,
  startWalletLogin,
} from "../login/index.ts";
import type { Mailer } from "../mail/index.ts";
import { type RenewalParts, renewSession } from "../token/index.ts";
import { callerOf, sessionOf, wireIdentity } from "./wire.ts";

/** How long AwaitLogin waits when the caller leaves it that long: proxies cut idle requests after 30 s or more. */
const PATIENCE_MS = 25 * SECOND;
/** So much of the caller's own deadline is left for the answer. */
const ANSWER_MS = SECOND;

export type LoginServiceParts = OauthParts &
  RenewalParts & {
    mailer: Mailer;
    onMailError: (error: unknown) => void;
    sessions: { listRevoked(now: number): Promise<string[]> };
  };

const purposes: Record<WirePurpose, LoginPurpose> = {
  [WirePurpose.UNSPECIFIED]: "sign-in",
  [WirePurpose.SIGN_IN]: "sign-in",
  [WirePurpose.LINK]: "link",
  [WirePurpose.STEP_UP]: "step-up",
};

export function createLoginService(parts: LoginServiceParts): ServiceImpl<typeof LoginService> {
  return {
    startEmailLogin: async (request, context) => {
      const login = await startEmailLogin(parts, {
        ...requestOf(request, context),
        email: parseEmail(request.email),
      });
      return wireStarted(login);
    },

    startOauthLogin: async (request, context) => {
      const login = await startOauthLogin(parts, {
        ...requestOf(request, context),
        provider: request.provider,
      });
      return { ...wireStarted(login), authorizationUrl: login.pageUrl.reveal() };
    },

    startPasskeyLogin: async (request, context) => {
      const login = await startPasskeyLogin(parts, requestOf(request, context));
      return { ...wireStarted(login), pageUrl: login.pageUrl.reveal() };
    },

    startWalletLogin: async (request, context) => {
      const login = await startWalletLogin(parts, requestOf(request, context));
      return { ...wireStarted(login), pageUrl: login.pageUrl.reveal() };
    },

    awaitLogin: async (request, context) => {
      const { token, record, identity } = await awaitLogin(parts, {
        loginId: request.loginId,
        loginSecret: request.loginSecret,
        dpopThumbprint: context.values.get(dpopProof)?.thumbprint,
        caller: callerOf(context),
        patienceMs: Math.min(PATIENCE_MS, (context.timeoutMs() ?? Infinity) - ANSWER_MS),
        signal: context.signal,
      });
      return {
        sessionJwt: token.reveal(),
        omniAccount: record.anchor,
        identity: wireIdentity(identity),
        expiresAt: timestampFromMs(record.expiresAt),
      };
    },

    renewSession: async (_request, context) => {
      const { token, record, renewableUntil } = await renewSession(parts, sessionOf(context), callerOf(context));
      return {
        sessionJwt: token.reveal(),
        expiresAt: timestampFromMs(record.expiresAt),
        renewableUntil: timestampFromMs(renewableUntil),
      };
    },

    listRevokedSessions: async () => ({ sessionIds: await parts.sessions.listRevoked(parts.clock()) }),
  };
}

/** What every way to start a sign-in is told. */
function requestOf(request: { purpose: WirePurpose; deviceName: string }, context: HandlerContext) {
  return {
    purpose: purposes[request.purpose],
    deviceName: parseDeviceName(request.deviceName),
    dpopThumbprint: context.values.get(dpopProof)?.thumbprint,
    caller: callerOf(context),
  };
}

/** What the program that started a sign-in keeps, whichever way it was. */
function wireStarted(login: { loginId: string; loginSecret: Secret; userCode: string; expiresAt: number }) {
  return {
    loginId: login.loginId,
    loginSecret: login.loginSecret.reveal(),
    userCode: login.userCode,
    expiresAt: timestampFromMs(login.expiresAt),
  };
}
