import { timestampMs } from "@bufbuild/protobuf/wkt";
import { decodeJwt, decodeProtectedHeader } from "jose";

import { accessFor } from "agentkeys/access.ts";
import { createAssumeRole } from "agentkeys/credentials/sts.ts";
import { enrol } from "agentkeys/enrolment.ts";
import { systemSleep } from "agentkeys/io.ts";
import { keyServiceRoute } from "agentkeys/key-service.ts";
import { readDaemonSettings } from "agentkeys/settings.ts";
import { signIn as signInHere } from "agentkeys/sign-in.ts";
import { type Enrolment, openState } from "agentkeys/state/index.ts";

import { systemClock } from "@agentkeys/lib/clock";
import type { EvmAddress } from "@agentkeys/lib/ethereum";
import { systemRandom } from "@agentkeys/lib/random";

import { type Machine, succeeded } from "../harness/machine.ts";
import { WALLET_TAG } from "../harness/policies.ts";
import { demandWhatIsThere } from "../harness/tee-policy.ts";
import { filesWithWalletKey } from "../harness/wallet-key-search.ts";
import type { Narrator } from "./narrator.ts";
import type { Stage } from "./stage.ts";
import { type CallObserver, watchedAccess } from "./watched-access.ts";

const parts = { clock: systemClock, random: systemRandom, sleep: systemSleep };

/** Does what `agentkeys init` does, by the same functions, and tells of every step. Gives the wallet's address. */
export async function enrolPerson(o: {
  email: string;
  machine: Machine;
  stage: Stage;
  tell: Narrator;
}): Promise<EvmAddress> {
  const { machine, stage, tell } = o;
  const signedIn = await signIn(o);
  const state = openState(machine.folder, signedIn.brokerUrl);
  await state.update(() => Promise.resolve(signedIn));

  if (stage.system.tee !== undefined) await attest(machine, tell);
  const route = keyServiceRoute(readDaemonSettings(machine.env), machine.folder, parts);
  const access = await accessFor(signedIn, { ...parts, keyService: route });
  let wallet: EvmAddress | undefined;
  const credentials = await enrol(
    watchedAccess(access, narrated(tell)),
    {
      derived: () => undefined,
      linked: async (walletAddress) => {
        wallet = walletAddress;
        await state.update(() => Promise.resolve({ ...signedIn, walletAddress }));
      },
    },
    createAssumeRole({ roleArn: stage.vault.roleArn, sessionSeconds: 3600 }, { ...parts, env: machine.env }),
  );
  if (wallet === undefined) throw new Error("The flow ended without a wallet");
  tell.step("assume role", `STS verified the JWT: credentials until ${time(credentials.expiresAt)}`);
  tell.detail(`${credentials.accessKeyId}, for ${stage.vault.roleArn}`);

  const { searched, found } = filesWithWalletKey(machine.folder, wallet);
  if (found.length > 0) throw new Error(`The wallet's key is on the machine: ${found.join(", ")}`);
  tell.step(
    "no wallet key",
    `on this machine: looked for it in all of the state folder (${searched} file${searched === 1 ? "" : "s"})`,
  );
  return wallet;
}

/** Has the machine write a policy of what is there, and shows what it checks from then on before it sends anything. */
async function attest(machine: Machine, tell: Narrator): Promise<void> {
  await demandWhatIsThere(machine);
  const { checks, url } = JSON.parse(succeeded(await machine.agentkeys("attest", "verify", "--json"))) as {
    url: string;
    checks: { check: string; found: string }[];
  };
  tell.step("attest", `${url} is what the machine's policy demands; nothing but a nonce was sent before`);
  for (const { check, found } of checks) {
    if (["connection", "evidence", "continuation"].includes(check)) tell.detail(`${check}: ${found.slice(0, 100)}`);
  }
}

async function signIn({ email, stage, tell }: { email: string; stage: Stage; tell: Narrator }): Promise<Enrolment> {
  const { system, browser } = stage;
  let press: Promise<void> | undefined;
  const confirm = async (code: string): Promise<void> => {
    const mail = await system.nextMail(email);
    tell.step("mail", `"${mail.subject}" came to ${mail.to.join(", ")} over SMTP`);
    const { review } = await browser.confirm(mail.links[0] ?? "");
    if (!review.includes(code)) throw new Error(`The page does not show the terminal's code ${code}: ${review}`);
    tell.step("press", `the page shows ${code} as the terminal does; pressed "Yes, sign it in"`);
  };
  const enrolment = await new Promise<Enrolment>((resolve, reject) => {
    const o = { ...parts, brokerUrl: system.broker.publicUrl, method: { email }, deviceName: "demo machine" };
    signInHere(o, {
      mailed: (_email, code) => {
        press = confirm(code);
        press.catch(reject);
      },
      openPage: () => undefined,
      openPasskeyPage: () => undefined,
      openWalletPage: () => undefined,
      askSignature: () => Promise.resolve(undefined),
      hiccup: () => undefined,
    }).then(resolve, reject);
  });
  await press;
  tell.step(
    "session",
    `account ${short(enrolment.omniAccount)} (${email}), until ${time(enrolment.session.expiresAt)}`,
  );
  tell.detail("bound to a device key (DPoP): the token alone is worth nothing");
  return enrolment;
}

function narrated(tell: Narrator): CallObserver {
  return {
    derived: ({ address }) => tell.step("derive", `the account's wallet, by the key service: ${address}`),
    claimed: ({ link }) =>
      tell.step(
        "link",
        `claimed at the broker${link?.verified === true ? "" : "; gives no right until the wallet signs"}`,
      ),
    challenged: ({ siweMessage, expiresAt }) => {
      const until = expiresAt === undefined ? "" : `, good until ${time(timestampMs(expiresAt))}`;
      tell.step("challenge", `by the broker (EIP-4361)${until}:`);
      const lines = siweMessage.split("\n");
      for (const line of [lines[0], lines[1], lines.find((text) => text.startsWith("Nonce"))]) tell.detail(line ?? "");
    },
    signed: ({ signature }) => tell.step("sign", `${short(signature)}, by the key service, asked directly`),
    verified: ({ walletAddress, expiresAt }) => {
      const until = expiresAt === undefined ? "" : `, until ${time(timestampMs(expiresAt))}`;
      tell.step("verify", `the signature is ${short(walletAddress)}'s: wallet session${until}`);
    },
    minted: ({ jwt }) => {
      const { iss, sub, aud, iat, exp, [WALLET_TAG]: wallet } = decodeJwt(jwt);
      const seconds = (exp ?? 0) - (iat ?? 0);
      tell.step("mint", `OIDC JWT by the broker, ${decodeProtectedHeader(jwt).alg ?? ""}, good for ${seconds} s`);
      tell.detail(`iss ${iss ?? ""}, aud ${String(aud)}`);
      tell.detail(`sub ${sub ?? ""}`);
      tell.detail(`session tag ${WALLET_TAG} = ${String(wallet)}`);
    },
  };
}

function short(text: string): string {
  return `${text.slice(0, 8)}…${text.slice(-6)}`;
}

function time(ms: number): string {
  return `${new Date(ms).toISOString().slice(11, 16)} UTC`;
}
