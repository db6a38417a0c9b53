import assert from "node:assert/strict";
import { join } from "node:path";

import type { Mail } from "@agentkeys/mailbox/inbox.ts";

import type { Narrator } from "../demo/narrator.ts";
import { startLocalCloud } from "../harness/cloud.ts";
import { plainBrowser } from "../harness/plain-browser.ts";
import { openS3, prepareVault, tryPlace, type Vault } from "../harness/vault.ts";
import { untilReady } from "./containers.ts";
import { agentkeysProgram, type Event, type Program } from "./program.ts";
import type { Trial } from "./trial.ts";

const SOMEBODY_ELSE = `0x${"ab".repeat(20)}`;

/** Two people sign in from this machine, work on S3, and still do after the containers were made anew. */
export async function trySignIn(
  trial: Trial,
  say: Narrator,
  o: { folder: string; secrets: readonly string[]; env: NodeJS.ProcessEnv },
): Promise<void> {
  say.heading("A sign-in from this machine");
  const cloud = await startLocalCloud();
  try {
    const vault = await prepareVault(cloud, trial.brokerUrl);
    const env = {
      ...withoutOurs(o.env),
      AGENTKEYS_BROKER_URL: trial.brokerUrl,
      AGENTKEYS_AWS_ROLE_ARN: vault.roleArn,
      AWS_ENDPOINT_URL_STS: cloud.url,
      AWS_REGION: "us-east-1",
    };
    const agentkeys = agentkeysProgram({
      ...env,
      AGENTKEYS_KEYS_URL: trial.keysUrl,
      AGENTKEYS_STATE_DIR: join(o.folder, "ada"),
    });
    const wallet = await signIn(trial, agentkeys, "ada@example.com", say);
    await tryS3(agentkeys, vault, cloud.url, wallet);
    say.step("S3", "the wallet's own place is open, another's is closed");

    say.heading("Another sign-in, by the TEE worker");
    const policy = join(o.folder, "policy.json");
    const attested = agentkeysProgram({
      ...env,
      AGENTKEYS_KEYS_URL: trial.teeUrl,
      AGENTKEYS_STATE_DIR: join(o.folder, "charles"),
      AGENTKEYS_ATTESTATION_POLICY: policy,
    });
    await attested.output("attest", "enroll", "--output", policy);
    say.step("enroll", "wrote a policy of what the worker shows");
    const attestedWallet = await signIn(trial, attested, "charles@example.com", say);
    await tryS3(attested, vault, cloud.url, attestedWallet);
    say.step("S3", "is open to this wallet too, where it may");

    const keysBefore = await publishedKeys(trial);
    await trial.compose("down");
    await trial.compose("up", "-d");
    await untilReady(trial);
    assert.deepEqual(await publishedKeys(trial), keysBefore, "the broker must find its signing keys again");
    const me = JSON.parse(await agentkeys.output("whoami", "--json")) as Event;
    assert.equal(me["wallet_address"], wallet);
    assert.equal(me["wallet_linked"], true);
    assert.equal((await agentkeys.output("token")).split(".").length, 3);
    say.step("down and up", "same keys, same session, same wallet; a token is minted without a new mail");
    await attested.output("attest", "verify", "--json");
    const there = JSON.parse(await attested.output("whoami", "--json")) as Event;
    assert.equal(there["wallet_address"], attestedWallet);
    const audit = JSON.parse(await attested.output("audit", "signatures", "--json")) as { entries: unknown[] };
    assert.notDeepEqual(audit.entries, [], "the sign log must have kept what was signed before");
    say.step("the seal", "opened again: the same wallet, the same policy, and the sign log goes on");

    const logs = await trial.compose("logs");
    for (const secret of o.secrets) assert.ok(!logs.includes(secret), "a secret stands in the logs");
    assert.match(logs, /MintOidcJwt/, "the logs must tell of calls");
    say.step("logs", "tell of calls and hold no secret");
  } finally {
    await cloud.close();
  }
}

/** `agentkeys init`, with a person who reads the mail and presses the button. Resolves to the wallet. */
async function signIn(trial: Trial, agentkeys: Program, email: string, say: Narrator): Promise<string> {
  let shown = "";
  const running = agentkeys.events(["init", "--email", email, "--json"], (event) => {
    if (event["event"] === "mailed") shown = String(event["user_code"]);
  });
  const mail = await Promise.race([nextMail(trial, email), running.then(() => undefined)]);
  const link = mail?.links[0];
  if (link === undefined) throw new Error("No mail with a link came");
  assert.ok(link.startsWith(`${trial.brokerUrl}/login#`), `the mail leads to ${link}`);
  const { review } = await plainBrowser().confirm(link);
  const done = (await running).at(-1);
  assert.ok(shown !== "" && review.includes(shown), "the page must show the code that the terminal shows");
  say.step("mail", `came over SMTP, and the page behind its link shows ${shown} too`);
  assert.equal(done?.["event"], "done");
  const wallet = String(done["wallet_address"]);
  say.step("init", `${email} has the wallet ${wallet}`);
  return wallet;
}

async function nextMail({ mailboxUrl }: Trial, email: string): Promise<Mail | undefined> {
  const response = await fetch(`${mailboxUrl}/api/mails?to=${email}&wait_ms=20000`);
  return ((await response.json()) as { mails: Mail[] }).mails[0];
}

async function tryS3(agentkeys: Program, vault: Vault, url: string, wallet: string): Promise<void> {
  const given = JSON.parse(await agentkeys.output("creds")) as Record<string, string>;
  const s3 = openS3(url, {
    accessKeyId: given["AccessKeyId"] ?? "",
    secretAccessKey: given["SecretAccessKey"] ?? "",
    sessionToken: given["SessionToken"] ?? "",
  });
  assert.deepEqual(await tryPlace(s3, vault.bucket, wallet), { put: "OK", get: "OK", list: "OK" });
  const elsewhere = await tryPlace(s3, vault.bucket, SOMEBODY_ELSE);
  assert.deepEqual(elsewhere, { put: "AccessDenied", get: "AccessDenied", list: "AccessDenied" });
  s3.destroy();
}

async function publishedKeys({ brokerUrl }: Trial): Promise<unknown> {
  const sets = ["jwks.json", "agentkeys-session-jwks.json"].map((name) => fetch(`${brokerUrl}/.well-known/${name}`));
  return Promise.all((await Promise.all(sets)).map((response) => response.json()));
}

/** Settings that happen to be in this shell are for other services than those tried here. */
function withoutOurs(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^(AGENTKEYS|AWS)_/.test(name)));
}
