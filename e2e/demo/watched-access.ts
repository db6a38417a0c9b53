import type {
  LinkWalletResponse,
  MintOidcJwtResponse,
  StartWalletAuthResponse,
  VerifyWalletResponse,
} from "@agentkeys/gen/agentkeys/broker/v1/broker_service_pb";
import type { DeriveAddressResponse, SignMessageResponse } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import type { Access } from "agentkeys/access.ts";
import type { Broker } from "agentkeys/services.ts";

/** What is told of the calls that the flow makes, as they are answered. */
export interface CallObserver {
  derived: (answer: DeriveAddressResponse) => void;
  claimed: (answer: LinkWalletResponse) => void;
  challenged: (answer: StartWalletAuthResponse) => void;
  signed: (answer: SignMessageResponse) => void;
  verified: (answer: VerifyWalletResponse) => void;
  minted: (answer: MintOidcJwtResponse) => void;
}

/** The same access to the services, with somebody looking on. */
export function watchedAccess(access: Access, observer: CallObserver): Access {
  const watchedBroker = (broker: Broker): Broker => {
    const { wallet } = broker;
    const watched: Broker["wallet"] = {
      linkWallet: watching(wallet.linkWallet, observer.claimed),
      startWalletAuth: watching(wallet.startWalletAuth, observer.challenged),
      verifyWallet: watching(wallet.verifyWallet, observer.verified),
      mintOidcJwt: watching(wallet.mintOidcJwt, observer.minted),
    };
    return { ...broker, wallet: watched };
  };
  return {
    ...access,
    asPerson: watchedBroker(access.asPerson),
    asMachine: watchedBroker(access.asMachine),
    asWallet: (token) => watchedBroker(access.asWallet(token)),
    keys: {
      ...access.keys,
      deriveAddress: watching(access.keys.deriveAddress, observer.derived),
      signMessage: watching(access.keys.signMessage, observer.signed),
    },
  };
}

function watching<A extends unknown[], R>(
  call: (...args: A) => Promise<R>,
  tell: (answer: R) => void,
): (...args: A) => Promise<R> {
  return async (...args) => {
    const answer = await call(...args);
    tell(answer);
    return answer;
  };
}
