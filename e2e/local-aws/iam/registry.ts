import { AwsError } from "../aws-error.ts";
import type { Statement } from "../policy/document.ts";

/** An OpenID Connect provider that the account trusts to name people. */
export interface Provider {
  arn: string;
  /** Compared with `iss`, character by character. */
  url: string;
  /** The issuer without its scheme: the prefix of its condition keys, `<name>:aud` and `<name>:sub`. */
  name: string;
  /** What `aud` may be. */
  clientIds: readonly string[];
}

export interface Role {
  arn: string;
  name: string;
  /** `AROA…`, the first half of a session's user id. */
  id: string;
  trust: readonly Statement[];
  /** By policy name. */
  policies: Map<string, readonly Statement[]>;
  /** Seconds. */
  maxSessionDuration: number;
}

/** The account's providers and roles, in memory. */
export interface Registry {
  accountId: string;
  addProvider(provider: Pick<Provider, "url" | "clientIds">): Provider;
  findProvider(issuer: string): Provider | undefined;
  addRole(role: Omit<Role, "arn" | "policies">): Role;
  findRole(by: { name: string } | { arn: string }): Role | undefined;
}

export function createRegistry(accountId: string): Registry {
  const providers = new Map<string, Provider>();
  const roles = new Map<string, Role>();
  return {
    accountId,
    addProvider({ url, clientIds }) {
      const name = url.replace(/^https?:\/\//, "");
      if (providers.has(name)) throw exists(`Provider with url ${url} already exists.`);
      const provider = { url, name, clientIds, arn: `arn:aws:iam::${accountId}:oidc-provider/${name}` };
      providers.set(name, provider);
      return provider;
    },
    findProvider: (issuer) => [...providers.values()].find((provider) => provider.url === issuer),
    addRole(made) {
      if (roles.has(made.name)) throw exists(`Role with name ${made.name} already exists.`);
      const role = { ...made, policies: new Map(), arn: `arn:aws:iam::${accountId}:role/${made.name}` };
      roles.set(role.name, role);
      return role;
    },
    findRole: (by) => ("name" in by ? roles.get(by.name) : [...roles.values()].find((role) => role.arn === by.arn)),
  };
}

function exists(message: string): AwsError {
  return new AwsError("EntityAlreadyExists", 409, message);
}
