/** EVM addresses and EIP-191 signatures over @noble/curves; pure functions. */
export {
  addressOfPublicKey,
  addressOfSecretKey,
  checksumAddress,
  type EvmAddress,
  parseEvmAddress,
} from "./address.ts";
export { eip191Digest, recoverEip191, signEip191 } from "./eip191.ts";
