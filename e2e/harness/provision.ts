import {
  CreateOpenIDConnectProviderCommand,
  CreateRoleCommand,
  IAMClient,
  type IAMClientConfig,
  PutRolePolicyCommand,
} from "@aws-sdk/client-iam";

import type { Policy } from "./policies.ts";

/** The account's side of federation, by the calls that an operator makes on AWS. */
export interface Iam {
  createProvider(issuer: string, clientIds: readonly string[]): Promise<void>;
  createRole(name: string, trust: Policy): Promise<void>;
  /** Replaces the role's only policy. */
  putRolePolicy(role: string, policy: Policy): Promise<void>;
  providerArn(issuer: string): string;
  roleArn(name: string): string;
}

/** The administrator of an account at `url`. */
export interface AdminAccess {
  url: string;
  accountId: string;
  admin: { accessKeyId: string; secretAccessKey: string };
}

export function createIam({ url, accountId, admin }: AdminAccess, config: IAMClientConfig = {}): Iam {
  const client = new IAMClient({ endpoint: url, region: "us-east-1", credentials: admin, ...config });
  return {
    async createProvider(issuer, clientIds) {
      // AWS wants a thumbprint's shape and does not look at it where it trusts the issuer's certificate.
      const ThumbprintList = ["0".repeat(40)];
      await client.send(
        new CreateOpenIDConnectProviderCommand({ Url: issuer, ClientIDList: [...clientIds], ThumbprintList }),
      );
    },
    async createRole(name, trust) {
      const AssumeRolePolicyDocument = JSON.stringify(trust);
      await client.send(new CreateRoleCommand({ RoleName: name, AssumeRolePolicyDocument }));
    },
    async putRolePolicy(role, policy) {
      const PolicyDocument = JSON.stringify(policy);
      await client.send(new PutRolePolicyCommand({ RoleName: role, PolicyName: "own-data", PolicyDocument }));
    },
    providerArn: (issuer) => `arn:aws:iam::${accountId}:oidc-provider/${issuer.replace(/^https?:\/\//, "")}`,
    roleArn: (name) => `arn:aws:iam::${accountId}:role/${name}`,
  };
}
