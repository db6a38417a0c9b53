/**
 * DEV ONLY: `npm run start:keys:tee [-- FLAGS]` runs the TEE worker on a software TPM, with everything in one folder: the TPM's state, the
 * worker's, and a release key. It is the real worker in every other respect.
 */
import { execFileSync, spawn } from "node:child_process";
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { approve, extendPcr, formatApprovals, readPcrs } from "@agentkeys/lib/tpm2";
import { hasSwtpm, startKeptTpm } from "@agentkeys/lib/tpm2/testing/swtpm";

/** In a container both are built; in the sources the worker is built at each start. */
const beside = join(import.meta.dirname, "keys-tee", "main.js");
const inContainer = existsSync(beside);
const PROGRAM = inContainer ? beside : builtFromSources();
/** Beside the broker, the development key service, the mailbox, the daemon and what stands in for AWS. */
const LISTEN = process.env["AGENTKEYS_KEYS_LISTEN"] ?? "127.0.0.1:8096";
/** The PCR that a measured image has itself in. */
const CODE_PCR = 11;

const folder = resolve(".agentkeys", "tee");
if (!hasSwtpm("npm run start:keys:tee", {})) {
  process.stderr.write("On Debian: apt-get install --no-install-recommends swtpm swtpm-tools\n");
  process.exit(1);
}
mkdirSync(folder, { recursive: true, mode: 0o700 });
const isFirst = !existsSync(join(folder, "tpm"));
mkdirSync(join(folder, "tpm"), { recursive: true, mode: 0o700 });

const tpm = await startKeptTpm(join(folder, "tpm"));
const release = releaseKey(join(folder, "release-key.pem"));
const approvals = join(folder, "approvals.json");
const connection = await tpm.open();
const measured = createHash("sha256").update(readFileSync(PROGRAM)).digest();
await connection.use((t) => extendPcr(t, CODE_PCR, measured));
const pcrs = await connection.use((t) => readPcrs(t, [CODE_PCR]));
await connection.close();
writeFileSync(approvals, formatApprovals([approve({ release: "development", securityVersion: 0, pcrs }, release)]));
writeFileSync(join(folder, "release-key.pub.pem"), createPublicKey(release).export({ format: "pem", type: "spki" }));

process.stderr
  .write(`DEV ONLY: a software TPM and a release key in ${folder}: whoever can read that folder has every wallet.
The program is measured as ${measured.toString("hex")}, and approved by that key.
${inContainer ? "" : whatNext()}`);
const worker = spawn(process.execPath, [PROGRAM, ...(isFirst ? ["--allow-genesis"] : []), ...process.argv.slice(2)], {
  stdio: "inherit",
  env: {
    AGENTKEYS_KEYS_LISTEN: LISTEN,
    AGENTKEYS_KEYS_BROKER_URL: "http://127.0.0.1:8091",
    AGENTKEYS_TEE_SIGNER: "dev-signer.localhost",
    AGENTKEYS_TEE_STATE_DIR: join(folder, "worker"),
    AGENTKEYS_TEE_TPM: `unix:${tpm.address.unix}`,
    AGENTKEYS_TEE_RELEASE_KEY: join(folder, "release-key.pub.pem"),
    AGENTKEYS_TEE_APPROVALS: approvals,
    NODE_ENV: "production",
    ...process.env,
  },
});
// The worker is told by the terminal itself, or by whoever told us, and ends first: it still needs its TPM.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => worker.kill("SIGTERM"));
const code = await new Promise<number>((resolveCode) => worker.once("exit", (status) => resolveCode(status ?? 1)));
await tpm.stop();
process.exit(code);

function whatNext(): string {
  const policy = join(folder, "policy.json");
  return `
To have agentkeys use it, in another terminal, beside what \`npm start\` said to export:

  export AGENTKEYS_KEYS_URL='https://${LISTEN}'
  npm run agentkeys -- attest enroll --output '${policy}'
  export AGENTKEYS_ATTESTATION_POLICY='${policy}'
  npm run agentkeys -- init --email you@example.com     # or, if you had a wallet of the other key service: migrate-wallet

Ctrl-C ends it.

`;
}

function builtFromSources(): string {
  const root = join(import.meta.dirname, "..", "..");
  execFileSync(process.execPath, [join(root, "build.mjs"), "keys-tee"], { stdio: ["ignore", "ignore", "inherit"] });
  return join(root, "dist", "keys-tee", "main.js");
}

/** Made at the first start. */
function releaseKey(path: string): KeyObject {
  if (!existsSync(path)) {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    writeFileSync(path, privateKey.export({ format: "pem", type: "pkcs8" }), { mode: 0o600 });
  }
  return createPrivateKey(readFileSync(path));
}
