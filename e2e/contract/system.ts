import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { DescMethod } from "@bufbuild/protobuf";
import { startBroker } from "@agentkeys/broker/start.ts";
import { readBrokerSettings } from "@agentkeys/broker/settings.ts";
import { startKeyService } from "@agentkeys/keys/start.ts";
import { readKeyServiceSettings } from "@agentkeys/keys/settings.ts";
import { createLog } from "@agentkeys/lib/log";
import type { Secret } from "@agentkeys/lib/secret";

import type { Callers } from "./callers.ts";
import { createCallers } from "./people.ts";
import { signIn } from "./sign-in.ts";

/** The real services, and people to call them as. */
export interface ContractSystem {
  /** Of the server that the RPC is a part of. */
  baseUrlOf(rpc: DescMethod): string;
  /** The URL of each server, by the part of its packages' names that stands for it: `agentkeys.broker.v1`. */
  servers: Readonly<Record<"broker" | "keys", string>>;
  callers: Callers;
  /** The token of a new identity session that is not bound to a DPoP key. */
  signInWithoutKey(): Promise<Secret>;
  close(): Promise<void>;
}

/** Starts the broker and the key service on free ports, with a store of their own and limits that nobody reaches. */
export async function startContractSystem(): Promise<ContractSystem> {
  const folder = await mkdtemp(join(tmpdir(), "agentkeys-contract-"));
  const unlimited = { times: 1_000_000, seconds: 60 };
  const broker = await startBroker(
    readBrokerSettings({
      AGENTKEYS_BROKER_LISTEN: "127.0.0.1:0",
      AGENTKEYS_BROKER_STORE: join(folder, "broker.sqlite"),
    }),
    {
      log: createLog("broker", { level: "silent" }),
      allowances: {
        mailsBySource: unlimited,
        mailsBySourceAndMailbox: unlimited,
        mailsByMailbox: unlimited,
        oauthLogins: unlimited,
        passkeyLogins: unlimited,
        walletLogins: unlimited,
        wrongLinks: unlimited,
        providerVisits: unlimited,
        renewals: unlimited,
        challenges: unlimited,
        wrongSignatures: unlimited,
        mints: unlimited,
      },
    },
  );
  const keys = await startKeyService(
    readKeyServiceSettings({
      AGENTKEYS_KEYS_LISTEN: "127.0.0.1:0",
      AGENTKEYS_KEYS_BROKER_URL: broker.url,
      AGENTKEYS_KEYS_SIGN_LOG: join(folder, "sign.log"),
      DEV_KEY_SERVICE_MASTER_SECRET: randomBytes(32).toString("hex"),
    }),
    { log: createLog("keys", { level: "silent" }) },
  );
  const mailbox = broker.devMailbox;
  if (mailbox === undefined) throw new Error("a broker without SMTP settings has a development mailbox");

  const servers = { broker: broker.url, keys: keys.url };
  return {
    servers,
    baseUrlOf: (rpc) => {
      const [, name] = rpc.parent.typeName.split(".");
      const found = Object.entries(servers).find(([server]) => server === name);
      if (found === undefined) throw new Error(`No server is known that serves ${rpc.parent.typeName}`);
      return found[1];
    },
    callers: await createCallers(broker.url, mailbox),
    signInWithoutKey: async () => (await signIn(broker.url, mailbox)).token,
    close: async () => {
      await keys.close();
      await broker.close();
      await rm(folder, { recursive: true });
    },
  };
}
