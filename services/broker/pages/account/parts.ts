import type { AccountParts } from "../../account/index.ts";
import type { AuditStore } from "../../audit/index.ts";
import type { BrowserParts } from "../../browser/index.ts";
import type { IdentityStore } from "../../identity/index.ts";
import type { WalletStore } from "../../wallet/index.ts";
import type { WayParts } from "./ways.ts";

/** What the account's pages are made of. */
export type AccountPageParts = AccountParts &
  BrowserParts &
  WayParts & {
    identities: IdentityStore;
    wallets: WalletStore;
    audit: AuditStore;
  };
