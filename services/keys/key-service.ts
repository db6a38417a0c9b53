import type { ServiceImpl } from "@connectrpc/connect";

import type { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { type OmniAccount, parseOmniAccount } from "@agentkeys/lib/account";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { requestInfo } from "@agentkeys/lib/rpc";
import { currentSession } from "@agentkeys/lib/session";

import { authorize } from "./authorization.ts";
import { KEY_VERSION } from "./derivation.ts";
import type { SignLog, SignRecord } from "./sign-log/index.ts";
import type { SignPolicy } from "./sign-policy/index.ts";
import type { SigningEngine, Wallet } from "./signing-engine.ts";

/** What the RPCs are made of. `engine` is absent while the service has no master secret: then it answers 503. */
export interface KeyServiceParts {
  engine: SigningEngine | undefined;
  signLog: SignLog;
  /** What may be signed; absent on a development backend, which signs everything that an account's owner asks for. */
  policy?: SignPolicy;
}

/**
 * How many wallets' addresses are remembered: they are no secret, and take time to derive, a TPM's where the key is in one. Whoever asks
 * again and again keeps nobody else waiting.
 */
const KNOWN_WALLETS = 10_000;

/** The RPCs: wire in, domain call, wire out. What attests is left out: a development backend has nothing to attest. */
export function createKeyService({
  engine,
  signLog,
  policy,
}: KeyServiceParts): Pick<ServiceImpl<typeof KeyService>, "deriveAddress" | "signMessage"> {
  const wallets = new Map<OmniAccount, Promise<Wallet>>();
  const walletOf = (omniAccount: OmniAccount): Promise<Wallet> => {
    const known = wallets.get(omniAccount);
    if (known !== undefined) return known;
    const derived = enabled(engine).walletOf(omniAccount);
    if (wallets.size >= KNOWN_WALLETS) wallets.clear();
    wallets.set(omniAccount, derived);
    // A failure is no answer: the next call asks again.
    derived.catch(() => wallets.delete(omniAccount));
    return derived;
  };

  return {
    deriveAddress: async (request, context) => {
      const omniAccount = parseOmniAccount(request.omniAccount);
      authorize(context.values.get(currentSession), omniAccount);
      return await walletOf(omniAccount);
    },

    signMessage: async (request, context) => {
      const omniAccount = parseOmniAccount(request.omniAccount);
      const message = Buffer.from(request.messageHex.replace(/^0x/, ""), "hex");
      const session = context.values.get(currentSession);
      const record = (caller: string, outcome: string): SignRecord => ({
        omniAccount,
        message,
        keyVersion: KEY_VERSION,
        caller,
        outcome,
        requestId: context.values.get(requestInfo).requestId,
      });
      try {
        policy?.admit(session?.anchor ?? omniAccount);
        const caller = authorize(session, omniAccount);
        if (policy !== undefined) {
          const { challengeToken } = request;
          await policy.check({ address: (await walletOf(omniAccount)).address, message, challengeToken });
        }
        const signing = enabled(engine);
        // The disk takes the record while the signature is made. Both are awaited: one that nobody wrote down must not leave.
        const [place, { wallet, signature }] = await Promise.all([
          signLog.append(record(caller, "signed")),
          signing.sign(omniAccount, message),
        ]);
        return { signature, ...wallet, ...(place && { logIndex: place.index }) };
      } catch (error) {
        const reason = error instanceof Failure ? error.reason : ErrorReason.INTERNAL;
        if (!unrecorded.has(reason)) await signLog.append(record(session?.id ?? "loopback", ErrorReason[reason]));
        throw error;
      }
    },
  };
}

/** What cannot be recorded, and what is limited so that nobody fills the record. */
const unrecorded: ReadonlySet<ErrorReason> = new Set([ErrorReason.SIGN_LOG_UNAVAILABLE, ErrorReason.RATE_LIMITED]);

function enabled(engine: SigningEngine | undefined): SigningEngine {
  if (engine === undefined) {
    throw new Failure(
      ErrorReason.SIGNER_DISABLED,
      "the key service has no master secret; its operator has to set DEV_KEY_SERVICE_MASTER_SECRET",
      { retryAfterMs: 30_000 },
    );
  }
  return engine;
}
