import { Code } from "@connectrpc/connect";

import { ErrorReason } from "../failure.ts";

/**
 * The Connect code that a reason is sent with, and by it the HTTP status. The comments of error_reason.proto say the same;
 * a test compares the two.
 */
export function codeOf(reason: ErrorReason): Code {
  return codes[reason];
}

const codes: Record<ErrorReason, Code> = {
  [ErrorReason.UNSPECIFIED]: Code.Internal,

  [ErrorReason.INVALID_REQUEST]: Code.InvalidArgument,
  [ErrorReason.REQUEST_TOO_LARGE]: Code.ResourceExhausted,
  [ErrorReason.RATE_LIMITED]: Code.ResourceExhausted,
  [ErrorReason.NOT_SERVED]: Code.Unimplemented,
  [ErrorReason.INVALID_OMNI_ACCOUNT]: Code.InvalidArgument,
  [ErrorReason.INVALID_EMAIL]: Code.InvalidArgument,
  [ErrorReason.AUDIENCE_NOT_ALLOWED]: Code.PermissionDenied,
  [ErrorReason.INVALID_ADDRESS]: Code.InvalidArgument,

  [ErrorReason.SESSION_REQUIRED]: Code.Unauthenticated,
  [ErrorReason.SESSION_INVALID]: Code.Unauthenticated,
  [ErrorReason.SESSION_EXPIRED]: Code.Unauthenticated,
  [ErrorReason.SESSION_REVOKED]: Code.Unauthenticated,
  [ErrorReason.SESSION_KIND]: Code.PermissionDenied,
  [ErrorReason.WRONG_ACCOUNT]: Code.PermissionDenied,
  [ErrorReason.RENEWAL_ENDED]: Code.PermissionDenied,
  [ErrorReason.DPOP_REQUIRED]: Code.PermissionDenied,
  [ErrorReason.DPOP_INVALID]: Code.Unauthenticated,
  [ErrorReason.DPOP_REPLAYED]: Code.Unauthenticated,

  [ErrorReason.LOGIN_NOT_FOUND]: Code.NotFound,
  [ErrorReason.LOGIN_EXPIRED]: Code.FailedPrecondition,
  [ErrorReason.LOGIN_REFUSED]: Code.PermissionDenied,
  [ErrorReason.LOGIN_PENDING]: Code.Unavailable,
  [ErrorReason.MAIL_NOT_SENT]: Code.Unavailable,
  [ErrorReason.PROVIDER_UNKNOWN]: Code.NotFound,
  [ErrorReason.PROVIDER_UNAVAILABLE]: Code.Unavailable,
  [ErrorReason.LOGIN_PURPOSE]: Code.FailedPrecondition,
  [ErrorReason.PASSKEY_UNKNOWN]: Code.PermissionDenied,

  [ErrorReason.CHALLENGE_NOT_FOUND]: Code.NotFound,
  [ErrorReason.CHALLENGE_EXPIRED]: Code.FailedPrecondition,
  [ErrorReason.CHALLENGE_SPENT]: Code.FailedPrecondition,
  [ErrorReason.SIGNATURE_INVALID]: Code.PermissionDenied,
  [ErrorReason.WALLET_TAKEN]: Code.AlreadyExists,
  [ErrorReason.WALLET_NOT_LINKED]: Code.PermissionDenied,
  [ErrorReason.WALLET_NOT_OWN]: Code.PermissionDenied,
  [ErrorReason.CHAIN_UNAVAILABLE]: Code.Unavailable,

  [ErrorReason.SESSION_NOT_FOUND]: Code.NotFound,
  [ErrorReason.IDENTITY_NOT_FOUND]: Code.NotFound,
  [ErrorReason.FRESH_SIGN_IN_REQUIRED]: Code.PermissionDenied,
  [ErrorReason.LAST_IDENTITY]: Code.FailedPrecondition,
  [ErrorReason.MERGE_OFFER_CHANGED]: Code.FailedPrecondition,
  [ErrorReason.ACCOUNT_FROZEN]: Code.PermissionDenied,
  [ErrorReason.IDENTITY_SUSPENDED]: Code.PermissionDenied,
  [ErrorReason.IDENTITY_UNLINKED]: Code.PermissionDenied,
  [ErrorReason.SECOND_IDENTITY_REQUIRED]: Code.PermissionDenied,

  [ErrorReason.SIGNER_DISABLED]: Code.Unavailable,
  [ErrorReason.BROKER_UNAVAILABLE]: Code.Unavailable,
  [ErrorReason.SIGN_LOG_UNAVAILABLE]: Code.Unavailable,
  [ErrorReason.CHALLENGE_TOKEN_INVALID]: Code.PermissionDenied,
  [ErrorReason.MESSAGE_NOT_ALLOWED]: Code.PermissionDenied,
  [ErrorReason.LOG_POSITION_UNKNOWN]: Code.NotFound,
  [ErrorReason.PEER_REFUSED]: Code.PermissionDenied,
  [ErrorReason.SHARE_REFUSED]: Code.InvalidArgument,
  [ErrorReason.SHARE_NOT_FOUND]: Code.NotFound,
  [ErrorReason.RECOVERY_TICKET_REFUSED]: Code.PermissionDenied,

  [ErrorReason.STORE_UNAVAILABLE]: Code.Unavailable,
  [ErrorReason.SHUTTING_DOWN]: Code.Unavailable,
  [ErrorReason.INTERNAL]: Code.Internal,
  [ErrorReason.DEADLINE]: Code.DeadlineExceeded,
};
