/**
 * `npm start`: everything on loopback at the default addresses, until Ctrl-C. For trying AgentKeys by hand: mails go to the
 * development mailbox, AWS is played by the stand-in of `local-aws/`, and what must outlive a restart stands in ./.agentkeys.
 */
import { randomBytes } from "node:crypto";
import { createWriteStream, mkdirSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { readBrokerSettings } from "@agentkeys/broker/settings.ts";
import { startBroker } from "@agentkeys/broker/start.ts";
import { readKeyServiceSettings } from "@agentkeys/keys/settings.ts";
import { startKeyService } from "@agentkeys/keys/start.ts";
import { createLog, type Logger } from "@agentkeys/lib/log";

import { prepareVault } from "./harness/vault.ts";
import { STAND_IN_NOTICE, startLocalAws } from "./local-aws/start.ts";

// The SDK's wish for a newer Node is no news for whoever only tries this out.
process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] = "true";

const folder = ".agentkeys";
const addresses = { broker: "127.0.0.1:8091", keys: "127.0.0.1:8092", aws: { host: "127.0.0.1", port: 8093 } };

try {
  await main();
} catch (error) {
  process.stderr.write(`npm start: ${explain(error)}\n`);
  process.exit(1);
}

async function main(): Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const masterSecret = await keptSecret("dev-master-secret");
  const keyEncryptionKey = await keptSecret("key-encryption-key");
  const awsKey = await keptSecret("stand-in-aws-key");
  const logFile = join(folder, "services.log");
  const log = logTo(logFile);

  const broker = await startBroker(
    readBrokerSettings({
      AGENTKEYS_BROKER_LISTEN: addresses.broker,
      AGENTKEYS_BROKER_STORE: join(folder, "broker.sqlite"),
      AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY: keyEncryptionKey,
    }),
    { log: log("broker") },
  );
  const keys = await startKeyService(
    readKeyServiceSettings({
      AGENTKEYS_KEYS_LISTEN: addresses.keys,
      AGENTKEYS_KEYS_BROKER_URL: broker.publicUrl,
      AGENTKEYS_KEYS_SIGN_LOG: join(folder, "signatures.log"),
      DEV_KEY_SERVICE_MASTER_SECRET: masterSecret,
    }),
    { log: log("keys") },
  );
  const aws = await startLocalAws({ listen: addresses.aws, key: Buffer.from(awsKey, "hex"), log: log("local-aws") });
  const vault = await prepareVault({ ...aws, dialect: "aws" }, broker.publicUrl);

  print(`
AgentKeys is up, on this machine only. Everything here is for DEVELOPMENT:

  broker        ${broker.publicUrl}
  key service   ${keys.url}   (its master secret: ${join(folder, "dev-master-secret")})
  mailbox       ${broker.publicUrl}/dev/mailbox   (mails are kept here and sent to nobody)
  STS and S3    ${aws.url}   (${STAND_IN_NOTICE})
  logs          ${logFile}, ${join(folder, "signatures.log")}

In a second terminal:

  export AGENTKEYS_AWS_ROLE_ARN=${vault.roleArn}
  export AWS_ENDPOINT_URL_STS=${aws.url} AWS_ENDPOINT_URL_S3=${aws.url} AWS_REGION=us-east-1
  npm run agentkeys -- init --email you@example.com

Open the mailbox, follow the link, compare the code, press the button. Then:

  npm run --silent agentkeys -- creds
  npm run --silent agentkeys -- exec -- sh -c 'date > note && aws --endpoint-url ${aws.url} s3 cp note s3://${vault.bucket}/bots/WALLET/note'

with your wallet's address for WALLET; at any other it is refused. Ctrl-C stops everything.
`);

  const stop = (): void => {
    print("\nstopping");
    void Promise.all([keys.close(), broker.close(), aws.close()]).then(() => process.exit(0));
  };
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
}

/** 32 random bytes in hex, made at the first start and kept for the next ones, for this user alone. */
async function keptSecret(name: string): Promise<string> {
  const path = join(folder, name);
  try {
    return (await readFile(path, "utf8")).trim();
  } catch {
    const secret = randomBytes(32).toString("hex");
    await writeFile(path, secret + "\n", { mode: 0o600, flag: "wx" });
    return secret;
  }
}

function logTo(path: string): (service: string) => Logger {
  const destination = createWriteStream(path, { flags: "a", mode: 0o600 });
  return (service) => createLog(service, { destination });
}

function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const taken = "code" in error && error.code === "EADDRINUSE";
  return taken ? `${error.message}: is it running already, or does another program listen there?` : error.message;
}

function print(text: string): void {
  process.stdout.write(text + "\n");
}
