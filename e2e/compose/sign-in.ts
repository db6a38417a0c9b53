import assert from "node:assert/strict";

import type { Mail } from "@agentkeys/mailbox/inbox.ts";

import type { Narrator } from "../demo/narrator.ts";
import { startLocalCloud } from "../harness/cloud.ts";
import { plainBrowser } from "../harness/plain-browser.ts";
import { openS3, prepareVault, tryPlace, type Vault } from "../harness/vault.ts";
import { untilReady } from "./containers.ts";
import { agentkeysProgram, type Event, type Program } from "./program.ts";
import type { Trial } from "./trial.ts";

const EMAIL = "ada@example.com";
const SOMEBODY_ELSE = `0x${"ab".repeat(20)}`;

/** A person signs in from this machine, works on S3, and still does after the containers were made anew. */
export async function trySignIn(
  trial: Trial,
  say: Narrator,
  o: { stateFolder: string; secrets: readonly string[]; env: NodeJS.ProcessEnv },
): Promise<void> {
  say.heading("A sign-in from this machine");
  const cloud = await startLocalCloud();
  try {
    const vault = await prepareVault(cloud, trial.brokerUrl);
    const agentkeys = agentkeysProgram({
      ...withoutOurs(o.env),
      AGENTKEYS_BROKER_URL: trial.brokerUrl,
      AGENTKEYS_KEYS_URL: trial.keysUrl,
      AGENTKEYS_STATE_DIR: o.stateFolder,
      AGENTKEYS_AWS_ROLE_ARN: vault.roleArn,
      AWS_ENDPOINT_URL_STS: cloud.url,
      AWS_REGION: "us-east-1",
    });
    const done = await signIn(trial, agentkeys, say);
    const wallet = String(done["wallet_address"]);
    say.step("init", `${EMAIL} has the wallet ${wallet}`);

    await tryS3(agentkeys, vault, cloud.url, wallet);
    say.step("S3", "the wallet's own place is open, another's is closed");

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

    const logs = await trial.compose("logs");
    for (const secret of o.secrets) assert.ok(!logs.includes(secret), "a secret stands in the logs");
    assert.match(logs, /MintOidcJwt/, "the logs must tell of calls");
    say.step("logs", "tell of calls and hold no secret");
  } finally {
    await cloud.close();
  }
}

/** `agentkeys init`, with a person who reads the mail and presses the button. Resolves to the last event. */
async function signIn(trial: Trial, agentkeys: Program, say: Narrator): Promise<Event> {
  let shown = "";
  const running = agentkeys.events(["init", "--email", EMAIL, "--json"], (event) => {
    if (event["event"] === "mailed") shown = String(event["user_code"]);
  });
  const mail = await Promise.race([nextMail(trial), running.then(() => undefined)]);
  const link = mail?.links[0];
  if (link === undefined) throw new Error("No mail with a link came");
  assert.ok(link.startsWith(`${trial.brokerUrl}/login#`), `the mail leads to ${link}`);
  const { review } = await plainBrowser().confirm(link);
  const events = await running;
  assert.ok(shown !== "" && review.includes(shown), "the page must show the code that the terminal shows");
  say.step("mail", `came over SMTP, and the page behind its link shows ${shown} too`);
  const done = events.at(-1);
  assert.equal(done?.["event"], "done");
  return done;
}

async function nextMail({ mailboxUrl }: Trial): Promise<Mail | undefined> {
  const response = await fetch(`${mailboxUrl}/api/mails?to=${EMAIL}&wait_ms=20000`);
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
