import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { readBrokerSettings } from "@agentkeys/broker/settings.ts";
import { type RunningBroker, startBroker } from "@agentkeys/broker/start.ts";
import { readKeyServiceSettings } from "@agentkeys/keys/settings.ts";
import { startKeyService } from "@agentkeys/keys/start.ts";
import { systemRandom } from "@agentkeys/lib/random";
import type { RunningServer } from "@agentkeys/lib/rpc";
import type { Environment } from "@agentkeys/lib/settings";

import { createUndoStack, type UndoStack } from "../harness/undo-stack.ts";
import { prepareVault, type Vault } from "../harness/vault.ts";
import { type LocalAws, startLocalAws } from "../local-aws/start.ts";
import { keptSecret } from "./kept-secret.ts";
import { openServiceLog } from "./service-log.ts";

/** Where the stand-in for AWS listens unless told otherwise: beside the broker, the key service, the mailbox and the daemon. */
export const DEFAULT_AWS_PORT = 8095;

/** Everything that is needed to try AgentKeys, on loopback, in this process. */
export interface Everything {
  broker: RunningBroker;
  keys: RunningServer;
  aws: LocalAws;
  vault: Vault;
  /** What was made for the first time, as lines to tell. */
  news: string[];
  close(): Promise<void>;
}

export interface StartOptions {
  folder: string;
  awsPort: number;
  env: Environment;
  terminal: { write(text: string): unknown };
}

/** Starts it all with what is kept in `folder`; the services' own settings hold here too. @throws SettingsError */
export async function startEverything(o: StartOptions): Promise<Everything> {
  const undo = createUndoStack();
  try {
    return await start(o, undo);
  } catch (error) {
    await undo.run();
    throw error;
  }
}

async function start({ folder, awsPort, env, terminal }: StartOptions, undo: UndoStack): Promise<Everything> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const news: string[] = [];
  const secretFile = join(folder, "dev-master-secret");
  const master = keptSecret(secretFile, systemRandom);
  if (master.made)
    news.push(`made a development master secret, in ${secretFile} (0600): whoever has it has every wallet`);

  const storeKey = keptSecret(join(folder, "key-encryption-key"), systemRandom);
  const log = openServiceLog(join(folder, "services.log"), terminal);
  undo.add(() => log.close());

  const broker = await startBroker(
    readBrokerSettings({
      AGENTKEYS_BROKER_STORE: join(folder, "broker.sqlite"),
      AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY: storeKey.hex,
      ...env,
    }),
    { log: log.of("broker") },
  );
  undo.add(() => broker.close());
  const keys = await startKeyService(
    readKeyServiceSettings({
      DEV_KEY_SERVICE_MASTER_SECRET: master.hex,
      AGENTKEYS_KEYS_BROKER_URL: broker.url,
      AGENTKEYS_KEYS_BROKER_ISSUER: broker.publicUrl,
      AGENTKEYS_KEYS_SIGN_LOG: join(folder, "signatures.log"),
      ...env,
    }),
    { log: log.of("keys") },
  );
  undo.add(() => keys.close());

  const awsKey = keptSecret(join(folder, "local-aws-key"), systemRandom);
  const aws = await startLocalAws({
    listen: { host: "127.0.0.1", port: awsPort },
    key: Buffer.from(awsKey.hex, "hex"),
    log: log.of("local-aws"),
  });
  undo.add(() => aws.close());
  const vault = await prepareVault({ ...aws, dialect: "aws" }, broker.publicUrl);
  return { broker, keys, aws, vault, news, close: () => undo.run() };
}
