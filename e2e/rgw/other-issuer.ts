import { type Cloud } from "../harness/cloud.ts";
import { startIssuer } from "../harness/issuer.ts";
import { TAGS_CLAIM, WALLET_TAG } from "../harness/policies.ts";
import { prepareVault, type Vault } from "../harness/vault.ts";
import { startX5cProxy } from "./x5c-proxy.ts";

/** An issuer that is not our broker, whom the account trusts for a vault of its own. */
export interface OtherIssuer {
  vault: Vault;
  /** A token as our broker makes it for a wallet; `tagged: false` leaves the session tags out. */
  mint: (wallet: string, o: { tagged: boolean }) => Promise<string>;
  close: () => Promise<void>;
}

/** `demandTag`: whether the vault's role demands the wallet's tag. */
export async function trustOtherIssuer(cloud: Cloud, o: { name: string; demandTag: boolean }): Promise<OtherIssuer> {
  const [issuer, front] = await Promise.all([startIssuer({ clock: Date.now }), startX5cProxy()]);
  front.forwardTo(issuer.url);
  issuer.discovery = { ...issuer.discovery, issuer: front.url, jwks_uri: `${front.url}/.well-known/jwks.json` };
  return {
    vault: await prepareVault(cloud, front.url, o),
    mint(wallet, { tagged }) {
      const tags = { principal_tags: { [WALLET_TAG]: [wallet] }, transitive_tag_keys: [WALLET_TAG] };
      return issuer.mint({ iss: front.url, sub: `agentkeys:wallet:${wallet}`, ...(tagged && { [TAGS_CLAIM]: tags }) });
    },
    async close() {
      await Promise.all([issuer.close(), front.close()]);
    },
  };
}
