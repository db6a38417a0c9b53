/** The claim that AWS STS reads session tags from. */
export const TAGS_CLAIM = "https://aws.amazon.com/tags";
/** The session tag that isolates one wallet's data from another's. */
export const WALLET_TAG = "agentkeys_user_wallet";

export interface Policy {
  Version: "2012-10-17";
  Statement: {
    Effect: "Allow" | "Deny";
    Principal?: { Federated: string[] };
    Action: string[];
    Resource?: string[];
    Condition?: Record<string, Record<string, string | string[]>>;
  }[];
}

/**
 * How policies have to be written: Ceph's RADOS Gateway (16.2) refuses variables in `Resource`, and takes any `Null` condition for
 * "is absent", whatever its value.
 */
export type Dialect = "aws" | "rgw";

/** Who may become the role: holders of a token of ours that is meant for STS, speaks for a wallet, and carries `requiredTag`. */
export function trustPolicy(o: {
  /** The provider's ARN. */
  provider: string;
  issuer: string;
  audience?: string;
  subject?: string;
  requiredTag?: string | undefined;
  /** Default: AWS's. */
  dialect?: Dialect;
  actions?: string[];
}): Policy {
  const name = o.issuer.replace(/^https?:\/\//, "");
  return {
    Version: "2012-10-17",
    Statement: [
      {
        Effect: "Allow",
        Principal: { Federated: [o.provider] },
        Action: o.actions ?? ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"],
        Condition: {
          StringEquals: { [`${name}:aud`]: o.audience ?? "sts.amazonaws.com" },
          StringLike: {
            [`${name}:sub`]: o.subject ?? "agentkeys:wallet:*",
            ...(o.requiredTag !== undefined && o.dialect === "rgw" && { [`aws:RequestTag/${o.requiredTag}`]: "?*" }),
          },
          // Presence is asked by Null: an absent key passes any StringNotEquals.
          ...(o.requiredTag !== undefined &&
            o.dialect !== "rgw" && { Null: { [`aws:RequestTag/${o.requiredTag}`]: "false" } }),
        },
      },
    ],
  };
}

/**
 * What the role may do: everything below `bots/<own wallet>/`, and list it. One statement for all wallets, by a variable; or, for
 * Ceph, a pair of statements for each of `wallets`.
 */
export function walletPolicy(
  o: { bucket: string } & ({ dialect: "aws" } | { dialect: "rgw"; wallets: readonly string[] }),
): Policy {
  const own = (wallet: string): Policy["Statement"] => [
    {
      Effect: "Allow",
      Action: ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
      Resource: [`arn:aws:s3:::${o.bucket}/bots/${wallet}/*`],
    },
    {
      Effect: "Allow",
      Action: ["s3:ListBucket"],
      Resource: [`arn:aws:s3:::${o.bucket}`],
      Condition: { StringLike: { "s3:prefix": `bots/${wallet}/*` } },
    },
  ];
  if (o.dialect === "aws") return { Version: "2012-10-17", Statement: own(`\${aws:PrincipalTag/${WALLET_TAG}}`) };
  const isOwner = (wallet: string) => ({ [`aws:PrincipalTag/${WALLET_TAG}`]: wallet });
  return {
    Version: "2012-10-17",
    Statement: o.wallets.flatMap((wallet) =>
      own(wallet).map((statement) => ({
        ...statement,
        Condition: { ...statement.Condition, StringEquals: isOwner(wallet) },
      })),
    ),
  };
}
