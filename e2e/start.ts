/** `npm start`: broker, key service, a mailbox and a stand-in for AWS, on loopback, until Ctrl-C. */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { ListenError } from "@agentkeys/lib/listen";
import { createLog } from "@agentkeys/lib/log";
import { runUntilSignal } from "@agentkeys/lib/rpc";
import { EX_CONFIG, SettingsError } from "@agentkeys/lib/settings";

import { STAND_IN_NOTICE } from "./local-aws/start.ts";
import { DEFAULT_AWS_PORT, type Everything, startEverything } from "./start/everything.ts";

const USAGE = `npm start [-- --aws-port PORT]

  --aws-port PORT   where the stand-in for STS and S3 listens (default ${DEFAULT_AWS_PORT}; 0 takes a free one)
The services take their own settings, such as AGENTKEYS_BROKER_LISTEN and AGENTKEYS_KEYS_LISTEN.
`;

const folder = resolve(".agentkeys");
const awsPort = readPort();
// Written for developers of AWS's SDK; here it would only hide what there is to do next.
process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] = "true";
try {
  const everything = await startEverything({ folder, awsPort, env: process.env, terminal: process.stdout });
  process.stdout.write(whatNext(everything));
  runUntilSignal(everything, createLog("start"));
} catch (error) {
  process.stderr.write(`${explained(error)}\n`);
  process.exit(error instanceof SettingsError ? EX_CONFIG : 1);
}

function whatNext({ broker, keys, aws, vault, news }: Everything): string {
  const variables = {
    ...(broker.publicUrl !== "http://127.0.0.1:8091" && { AGENTKEYS_BROKER_URL: broker.publicUrl }),
    ...(keys.url !== "http://127.0.0.1:8092" && { AGENTKEYS_KEYS_URL: keys.url }),
    AGENTKEYS_STATE_DIR: join(folder, "machine"),
    AGENTKEYS_AWS_ROLE_ARN: vault.roleArn,
    AWS_ENDPOINT_URL_STS: aws.url,
    AWS_ENDPOINT_URL_S3: aws.url,
    AWS_REGION: "us-east-1",
  };
  const exports = Object.entries(variables).map(([name, value]) => `  export ${name}='${value}'`);
  const mails =
    broker.devMailbox === undefined
      ? "Press the button behind the link in the mail."
      : `Read the mail at ${broker.publicUrl}/dev/mailbox and press the button behind its link.`;
  return `
AgentKeys is up, on this machine only, for DEVELOPMENT. What it keeps, its logs too, is in ${folder}.
${news.map((line) => `  ${line}\n`).join("")}
  broker        ${broker.publicUrl}
  key service   ${keys.url}
  STS and S3    ${aws.url}
                ${STAND_IN_NOTICE}; forgets its objects when it ends

1. In another terminal, in this folder:

${exports.join("\n")}
  npm run agentkeys -- init --email you@example.com

2. ${mails}

3. Then:

  npm run agentkeys -- whoami
  npm run agentkeys -- creds
  npm run agentkeys -- exec -- aws sts get-caller-identity
  npm run agentkeys -- exec -- aws --endpoint-url ${aws.url} s3 cp README.md s3://${vault.bucket}/bots/WALLET/

with your wallet's address, which whoami tells, for WALLET; at any other it is refused.

4. ${broker.publicUrl}/account shows in a browser what acts in your name, and stops it.

Ctrl-C ends it.
`;
}

function readPort(): number {
  try {
    const { values } = parseArgs({ options: { "aws-port": { type: "string" } } });
    const port = values["aws-port"] ?? String(DEFAULT_AWS_PORT);
    if (/^\d{1,5}$/.test(port) && Number(port) <= 65_535) return Number(port);
    process.stderr.write(`--aws-port must be a number from 0 to 65535.\n\n${USAGE}`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
  }
  process.exit(2);
}

function explained(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (!(error instanceof ListenError) || error.code !== "EADDRINUSE") return error.message;
  return `Port ${error.address.port} is taken. Is it running already? Else: AGENTKEYS_BROKER_LISTEN, AGENTKEYS_KEYS_LISTEN, or -- --aws-port.`;
}
