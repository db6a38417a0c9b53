import {
  BaseError,
  createPublicClient,
  encodeDeployData,
  encodeFunctionData,
  erc6492SignatureValidatorAbi,
  erc6492SignatureValidatorByteCode,
  type Hex,
  http,
  isErc6492Signature,
  parseAbi,
  RpcRequestError,
  toHex,
} from "viem";

import { SECOND } from "@agentkeys/lib/clock";
import { eip191Digest, type EvmAddress } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { Secret } from "@agentkeys/lib/secret";

/** Wallets that are contracts: they have no key, and say themselves what a good signature is. */
export interface ContractWallets {
  /** Of the chain that they are looked up on (EIP-155); `undefined` until the node has said it once. */
  chainId(): number | undefined;
  /**
   * Whether the contract at the address, or the one that the signature says how to make there (ERC-6492), takes the signature as its own
   * (ERC-1271) over a message that names this chain. @throws Failure CHAIN_UNAVAILABLE
   */
  accepts(signed: SignedMessage): Promise<boolean>;
  /** Resolves when the node answers, for the chain that it answered for before. @throws Failure CHAIN_UNAVAILABLE */
  check(): Promise<void>;
}

export interface SignedMessage {
  address: EvmAddress;
  /** An EIP-4361 message; its text is what is signed (EIP-191). */
  message: string;
  /** `0x` and hex. */
  signature: string;
}

const TIMEOUT_MS = 5 * SECOND;
const erc1271 = parseAbi(["function isValidSignature(bytes32 hash, bytes signature) view returns (bytes4)"]);
/** What ERC-1271 has a contract answer, as the ABI has four bytes. */
const MAGIC_VALUE: Hex = `0x1626ba7e${"0".repeat(56)}`;
/** What the code of ERC-6492's validator leaves behind for yes. */
const VALID: Hex = "0x01";

/**
 * Asks an EVM node. viem's own `verifyHash` is not used: it takes a node that cannot be reached for a signature that is wrong, and falls
 * back to recovering a key, which would take forms of a signature (a high s) that we refuse.
 */
export function createContractWallets({ rpcUrl }: { rpcUrl: Secret }): ContractWallets {
  const client = createPublicClient({
    transport: http(rpcUrl.reveal(), { timeout: TIMEOUT_MS, retryCount: 0 }),
    ccipRead: false,
  });
  let known: number | undefined;

  const check = async (): Promise<void> => {
    const chainId = await client.getChainId().catch((error: unknown) => {
      throw unavailable(error);
    });
    known ??= chainId;
    // What was signed names the chain: a node that has been moved to another one would look the address up elsewhere.
    if (known !== chainId) throw unavailable(new Error(`the node is on chain ${chainId} now, and was on ${known}`));
  };
  /** What a call leaves behind, or nothing where it is broken off. It changes nothing on the chain. */
  const call = async (parameters: { to?: Hex; data: Hex }): Promise<Hex | undefined> => {
    try {
      return (await client.call({ ...parameters, batch: false })).data;
    } catch (error) {
      if (brokenOff(error)) return undefined;
      throw unavailable(error);
    }
  };

  return {
    chainId: () => known,
    check,
    accepts: async ({ address, message, signature }) => {
      await check();
      if (!message.includes(`\nChain ID: ${known}\n`)) return false;
      const hash = toHex(eip191Digest(Buffer.from(message, "utf8")));
      const [signer, signed] = [address as Hex, signature as Hex];
      if (isErc6492Signature(signed)) {
        const args = [signer, hash, signed] as const;
        const data = encodeDeployData({
          abi: erc6492SignatureValidatorAbi,
          bytecode: erc6492SignatureValidatorByteCode,
          args,
        });
        return (await call({ data })) === VALID;
      }
      const code = await client.getCode({ address: signer }).catch((error: unknown) => {
        throw unavailable(error);
      });
      if (code === undefined) return false;
      const data = encodeFunctionData({ abi: erc1271, functionName: "isValidSignature", args: [hash, signed] });
      return (await call({ to: signer, data }))?.slice(0, MAGIC_VALUE.length) === MAGIC_VALUE;
    },
  };
}

/** What nodes answer when it is the contract that failed: EIP-1474's "execution error" (3), and what others have instead. */
const EXECUTION_FAILED = [3, -32000, -32015, -32603];

/** Whether the node did its part, and the contract broke the call off. */
function brokenOff(error: unknown): boolean {
  const answered = error instanceof BaseError ? error.walk((each) => each instanceof RpcRequestError) : null;
  return answered instanceof RpcRequestError && EXECUTION_FAILED.includes(answered.code);
}

function unavailable(cause: unknown): Failure {
  return new Failure(
    ErrorReason.CHAIN_UNAVAILABLE,
    "the EVM node that checks the signatures of contract wallets cannot be asked right now; try again shortly",
    // The URL of the node, which often holds a key, is in the messages of viem's errors: what led to it is told by its name only.
    { retryAfterMs: 10 * SECOND, cause: new Error(cause instanceof Error ? nameOf(cause) : "unknown") },
  );
}

function nameOf(error: Error): string {
  return error instanceof BaseError ? error.name : error.message;
}
