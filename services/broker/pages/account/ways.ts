import type { Secret } from "@agentkeys/lib/secret";

import { type Identity, parseEmail } from "../../identity/index.ts";
import {
  type Login,
  type LoginRequest,
  type OauthParts,
  type StartedLogin,
  startEmailLogin,
  startOauthLogin,
  startPasskeyLogin,
  startWalletLogin,
} from "../../login/index.ts";
import type { Mailer } from "../../mail/index.ts";
import { passkeysWorkAt } from "../../passkey/index.ts";

export type WayParts = OauthParts & { mailer: Mailer; onMailError: (error: unknown) => void };

/** One way to prove who one is from a browser. */
export interface Way {
  /** In forms. */
  id: string;
  /** For people. */
  title: string;
  /** Whether the person has to say which address. */
  takesAddress: boolean;
  /** Where a form with the link's token goes on from this browser; absent where a mail carries the link. */
  goesOnAt?: string;
  /** Whether that leads to somebody else's pages. */
  elsewhere?: boolean;
  /** Whether a sign-in was started this way. */
  started(login: Pick<Login, "method" | "provider">): boolean;
  /** Whether this way proves that identity. */
  proves(identity: Pick<Identity, "type" | "value">): boolean;
  /** Starts a sign-in; `linkToken` is of the page that it goes on at, where no mail carries it. @throws Failure as the RPC does */
  start(request: LoginRequest, address: string): Promise<StartedLogin & { linkToken?: string }>;
}

/** All of them, in the order in which a person is offered them. */
export function waysOf(parts: WayParts): Way[] {
  const providers = [...parts.providers.keys()].map((name) => provider(parts, name));
  // Browsers use no passkey at an IP address.
  const passkeys = passkeysWorkAt(parts.publicUrl()) ? [passkey(parts)] : [];
  return [mailbox(parts), ...providers, wallet(parts), ...passkeys];
}

function mailbox(parts: WayParts): Way {
  return {
    id: "email",
    title: "E-mail",
    takesAddress: true,
    started: ({ method }) => method === "email",
    proves: ({ type }) => type === "email",
    start: (request, address) => startEmailLogin(parts, { ...request, email: parseEmail(address) }),
  };
}

function provider(parts: WayParts, name: string): Way {
  const { title = name, issuer = "" } = parts.providers.get(name) ?? {};
  return onPage(
    {
      id: `provider-${name}`,
      title,
      goesOnAt: "/login/continue",
      elsewhere: true,
      started: (login) => login.provider === name,
      proves: ({ type, value }) => type === "oauth2" && issuerOf(value) === bare(issuer),
    },
    (request) => startOauthLogin(parts, { ...request, provider: name }),
  );
}

function wallet(parts: WayParts): Way {
  return onPage(
    {
      id: "wallet",
      title: "your own wallet",
      goesOnAt: "/login/review",
      started: ({ method }) => method === "wallet",
      proves: ({ type }) => type === "evm",
    },
    (request) => startWalletLogin(parts, request),
  );
}

function passkey(parts: WayParts): Way {
  return onPage(
    {
      id: "passkey",
      title: "a passkey",
      goesOnAt: "/login/review",
      started: ({ method }) => method === "passkey",
      proves: ({ type }) => type === "passkey",
    },
    (request) => startPasskeyLogin(parts, request),
  );
}

/** A way that goes on at a page of the sign-in's, to which this browser gets the link. */
function onPage(
  way: Omit<Way, "takesAddress" | "start">,
  start: (request: LoginRequest) => Promise<StartedLogin & { pageUrl: Secret }>,
): Way {
  return {
    ...way,
    takesAddress: false,
    start: async (request) => {
      const { pageUrl, ...login } = await start(request);
      return { ...login, linkToken: new URL(pageUrl.reveal()).hash.slice(1) };
    },
  };
}

/** Who named an identity `<issuer>|<sub>`. A subject may have a bar in it; an issuer, being a URL, has none. */
function issuerOf(value: string): string {
  return bare(value.slice(0, value.indexOf("|")));
}

function bare(issuer: string): string {
  return issuer.replace(/\/$/, "");
}
