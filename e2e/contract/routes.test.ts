import { getOption, hasOption } from "@bufbuild/protobuf";
import { access, Access } from "@agentkeys/gen/agentkeys/access/v1/access_pb";
import { describe, expect, test } from "vitest";

import { buildContract, rpcsOf, shortName } from "./descriptors.ts";
import { routesOf } from "./routes.ts";

// What others build on, written out by hand: a change here is a change of the contract.
const expected = `
AccountService/LinkIdentity          POST /v1/account/identities/link    IDENTITY_SESSION
AccountService/ListEvents            GET  /v1/account/events             RESTRICTED_IDENTITY_SESSION
AccountService/ListIdentities        GET  /v1/account/identities         RESTRICTED_IDENTITY_SESSION
AccountService/ListSessions          GET  /v1/account/sessions           RESTRICTED_IDENTITY_SESSION
AccountService/MergeAccount          POST /v1/account/merge              IDENTITY_SESSION
AccountService/RetireWallet          POST /v1/account/wallets/retire      IDENTITY_SESSION
AccountService/RevokeSession         POST /v1/account/sessions/revoke    RESTRICTED_IDENTITY_SESSION
AccountService/StepUp                POST /v1/account/step-up            RESTRICTED_IDENTITY_SESSION
AccountService/UnfreezeAccount       POST /v1/account/unfreeze           RESTRICTED_IDENTITY_SESSION
AccountService/UnlinkIdentity        POST /v1/account/identities/unlink  RESTRICTED_IDENTITY_SESSION
AccountService/WhoAmI                GET  /v1/account                    RESTRICTED_IDENTITY_SESSION
BackupService/DepositShare           POST /tee/backup/deposit            ANYONE
BackupService/GetBackupChallenge     POST /tee/backup/challenge          ANYONE
BackupService/RecoverShare           POST /tee/backup/recover            ANYONE
BrokerService/LinkWallet             POST /v1/wallet/link                IDENTITY_SESSION
BrokerService/MintOidcJwt            POST /v1/mint-oidc-jwt              WALLET_SESSION
BrokerService/StartWalletAuth        POST /v1/auth/wallet/start          OPTIONAL_IDENTITY_SESSION
BrokerService/VerifyWallet           POST /v1/auth/wallet/verify         ANYONE
KeyService/ActivateCredential        POST /tee/activate-credential       ANYONE
KeyService/DeriveAddress             POST /dev/derive-address            ACCOUNT_OWNER
KeyService/DeriveAddress             POST /tee/derive-address            ACCOUNT_OWNER
KeyService/GetAttestation            POST /tee/attestation               ANYONE
KeyService/SignMessage               POST /dev/sign-message              ACCOUNT_OWNER
KeyService/SignMessage               POST /tee/sign-message              ACCOUNT_OWNER
LoginService/AwaitLogin              POST /v1/auth/login/await           ANYONE
LoginService/ListRevokedSessions     GET  /v1/auth/revoked-sessions      ANYONE
LoginService/RenewSession            POST /v1/auth/renew                 RENEWABLE_IDENTITY_SESSION
LoginService/StartEmailLogin         POST /v1/auth/email/start           ANYONE
LoginService/StartOauthLogin         POST /v1/auth/oauth2/start          ANYONE
LoginService/StartPasskeyLogin       POST /v1/auth/passkey/start         ANYONE
LoginService/StartWalletLogin        POST /v1/auth/wallet/login/start    ANYONE
SignLogService/GetCheckpoint         GET  /tee/log/checkpoint            ANYONE
SignLogService/GetConsistencyProof   GET  /tee/log/consistency-proof     ANYONE
SignLogService/GetInclusionProof     GET  /tee/log/inclusion-proof       ANYONE
SignLogService/ListEntries           POST /tee/log/entries               ACCOUNT_OWNER
`;

const { services } = buildContract();
const rpcs = rpcsOf(services);

describe("the contract", () => {
  test("has these RPCs, routes and callers, and no others", () => {
    const actual = rpcs.flatMap((rpc) =>
      routesOf(rpc).map(({ verb, path }) => [shortName(rpc), verb, path, Access[getOption(rpc, access)]].join(" ")),
    );
    const rows = expected.trim().split("\n");
    expect(actual.sort()).toEqual(rows.map((row) => row.split(/\s+/).join(" ")));
  });

  test("says of every RPC who may call it", () => {
    const silent = rpcs.filter((rpc) => !hasOption(rpc, access) || getOption(rpc, access) === Access.UNSPECIFIED);
    expect(silent.map(shortName)).toEqual([]);
  });

  test("gives every RPC a plain HTTP route, and no route twice", () => {
    expect(rpcs.filter((rpc) => routesOf(rpc).length === 0).map(shortName)).toEqual([]);
    const routes = rpcs.flatMap((rpc) => routesOf(rpc).map(({ verb, path }) => `${verb} ${path}`));
    expect(routes.filter((route, i) => routes.indexOf(route) !== i)).toEqual([]);
  });

  test("puts the whole message into the body of a POST, and nothing into that of a GET", () => {
    const bodies = rpcs.flatMap((rpc) => routesOf(rpc).map(({ verb, body }) => `${verb} ${body}`));
    expect([...new Set(bodies)].sort()).toEqual(["GET ", "POST *"]);
  });
});
