import type {
  PublicKeyCredentialCreationOptionsJSON,
  PublicKeyCredentialRequestOptionsJSON,
} from "@simplewebauthn/server";

import { type Lies, type SoftPasskey } from "./authenticator.ts";

/** What a browser on the page of a sign-in has: the link's secret, and a cookie once it was given one. */
export interface PasskeyVisit {
  /** Posts JSON as the page's script does. */
  post(path: string, fields: object, headers?: Record<string, string>): Promise<{ status: number; body: Answer }>;
  options(): Promise<{ status: number; body: Answer }>;
  finish(answer: object): Promise<{ status: number; body: Answer }>;
  /** The press of the button, with this passkey. */
  press(passkey: SoftPasskey, lies?: Lies): Promise<{ status: number; body: Answer }>;
  /** Opens a page of the broker's. */
  open(path: string): Promise<{ status: number; html: string }>;
}

export interface Answer {
  create?: PublicKeyCredentialCreationOptionsJSON;
  get?: PublicKeyCredentialRequestOptionsJSON;
  next?: string;
  message?: string;
}

/** A browser without a screen, on the page behind the link. */
export function visitPasskeyPage(url: string, pageUrl: string): PasskeyVisit {
  const token = new URL(pageUrl).hash.slice(1);
  let cookie = "";
  const visit: PasskeyVisit = {
    post: async (path, fields, headers = {}) => {
      const response = await fetch(`${url}${path}`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "sec-fetch-site": "same-origin",
          origin: url,
          cookie,
          ...headers,
        },
        body: JSON.stringify({ token, ...fields }),
      });
      cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? cookie;
      return { status: response.status, body: (await response.json()) as Answer };
    },
    options: () => visit.post("/login/passkey/options", {}),
    finish: (answer) => visit.post("/login/passkey/finish", { answer }),
    press: async (passkey, lies) => {
      const { body } = await visit.options();
      if (body.create !== undefined) return visit.finish(passkey.create(body.create, lies));
      if (body.get !== undefined) return visit.finish(passkey.get(body.get, lies));
      throw new Error(`there is nothing to sign: ${body.message ?? ""}`);
    },
    open: async (path) => {
      const response = await fetch(`${url}${path}`, { headers: { cookie } });
      return { status: response.status, html: await response.text() };
    },
  };
  return visit;
}
