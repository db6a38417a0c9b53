import { hkdfSync, randomBytes } from "node:crypto";
import { closeSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { addressOfSecretKey } from "@agentkeys/lib/ethereum";

import { type Enrolled, startEnrolled } from "./enrolled.ts";
import type { Program } from "./program.ts";

const MASTER_SECRET = randomBytes(32);
/** Whose output was seen, and all of it. */
const outputs: [string, string][] = [];

let ada: Enrolled;
let walletKey: Buffer;
let state: { session: { token: string }; device_key: { d: string } };
beforeAll(async () => {
  ada = await startEnrolled({ masterSecret: MASTER_SECRET.toString("hex") });
  // As the contract has it, written out once more.
  const info = Buffer.concat([Buffer.from("agentkeys-evm-wallet-v1:"), Buffer.from(ada.signedIn.omniAccount, "hex")]);
  walletKey = Buffer.from(hkdfSync("sha256", MASTER_SECRET, Buffer.alloc(0), info, 32));
  expect(addressOfSecretKey(walletKey)).toBe(ada.signedIn.wallet);
  state = JSON.parse(readFileSync(join(ada.machine.folder, "state.json"), "utf8")) as typeof state;
});
afterAll(() => ada.close());

/** Every way in which 32 bytes may be written down. */
const written = (bytes: Buffer): Buffer[] =>
  ["hex", "base64", "base64url"].map((form) => Buffer.from(bytes.toString(form as "hex").replace(/=+$/, "")));

function holds(data: Buffer, key: Buffer): boolean {
  const capitals = Buffer.from(key.toString("hex").toUpperCase());
  return [key, ...written(key), capitals].some((form) => data.includes(form));
}

describe("a wallet's key", () => {
  let daemon: Program;
  beforeAll(async () => {
    await ada.machine.credentials();
    daemon = ada.start(["daemon"], {
      nodeArgs: ["--heapsnapshot-signal=SIGUSR2", "--heap-snapshot-string-limit=1000000"],
      env: { AGENTKEYS_LOG_LEVEL: "debug" },
    });
    await daemon.says(/credentials obtained/);
    return async () => {
      daemon.process.kill("SIGTERM");
      await daemon.ended;
    };
  });

  test("is in no file that the machine keeps, and in nothing that the daemon says", () => {
    const files = readdirSync(ada.machine.folder, { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    );
    const names = files.map(({ name }) => name.replace(/-[0-9a-f]{16}/, ""));
    expect(names.sort()).toEqual(["credentials.json", "daemon-token", "state.json"]);
    for (const { parentPath, name } of files) {
      expect(holds(readFileSync(join(parentPath, name)), walletKey)).toBe(false);
    }
    expect(holds(Buffer.from(daemon.stdout() + daemon.stderr()), walletKey)).toBe(false);
  });

  test("is not in a snapshot of the daemon's heap, in which its session is", async () => {
    daemon.process.kill("SIGUSR2");
    const isSnapshot = (name: string): boolean => name.endsWith(".heapsnapshot");
    const snapshot = (): Buffer | undefined => {
      const name = readdirSync(ada.home).find(isSnapshot);
      const data = name === undefined ? undefined : readFileSync(join(ada.home, name));
      // It is written from the beginning to the end, which is a brace.
      return data?.subarray(-10).toString().trimEnd().endsWith("}") === true ? data : undefined;
    };
    await expect.poll(() => snapshot() !== undefined, { timeout: 25_000 }).toBe(true);
    const data = snapshot() ?? Buffer.alloc(0);
    expect(data.includes(state.session.token)).toBe(true);
    expect(holds(data, walletKey)).toBe(false);
  });

  test.runIf(process.platform === "linux")("is nowhere in the daemon's memory, in which its session is", () => {
    const seen = { session: false, wallet: false };
    for (const piece of memoryOf(daemon.process.pid ?? 0)) {
      seen.session ||= piece.includes(state.session.token);
      seen.wallet ||= holds(piece, walletKey);
    }
    expect(seen).toEqual({ session: true, wallet: false });
  });
});

describe("what the machine does keep secret", () => {
  test("is said by no command but the one that is asked for it", async () => {
    const run = async (...argv: string[]): Promise<string> => {
      const program = ada.start(argv, { env: { AGENTKEYS_LOG_LEVEL: "debug", AGENTKEYS_LISTEN: "127.0.0.1:0" } });
      await program.ended;
      outputs.push([argv.join(" "), program.stderr()]);
      return program.stdout();
    };
    const whoami = (await run("whoami")) + (await run("whoami", "--json"));
    const jwt = (await run("token")).trim();
    const creds = JSON.parse(await run("creds")) as Record<string, string>;
    const refused = await run("token", "--audience", "https://nobody.example");
    await run("exec", "--", "true");
    const keysAway = { env: { AGENTKEYS_KEYS_URL: "http://127.0.0.1:1", AGENTKEYS_LOG_LEVEL: "debug" } };
    const failing = ada.start(["token", "--json"], keysAway);
    await failing.ended;
    const logout = await run("logout");
    outputs.push(["whoami", whoami], ["logout", logout], ["refused", refused], ["keys away", failing.stderr()]);
    outputs.push(["the services' logs", ada.system.logged.join("")]);

    expect(jwt.split(".")).toHaveLength(3);
    const secrets = {
      session: state.session.token,
      "device key": state.device_key.d,
      "OIDC JWT": jwt,
      "AWS secret": String(creds["SecretAccessKey"]),
      "AWS token": String(creds["SessionToken"]),
      "wallet key": walletKey.toString("hex"),
      "master secret": MASTER_SECRET.toString("hex"),
    };
    for (const [who, text] of outputs) {
      // A signature alone would be of use to nobody, but a token's last part shows that the whole was there.
      const found = Object.entries(secrets).filter(([, secret]) => text.includes(secret.split(".").at(-1) ?? secret));
      expect({ who, found: found.map(([name]) => name) }).toEqual({ who, found: [] });
    }
    expect(outputs.map(([, text]) => text).join("")).toContain("AUDIENCE_NOT_ALLOWED");
  });
});

/** The writable memory of a process, piece by piece, each with the beginning of the next. */
function* memoryOf(pid: number): Generator<Buffer> {
  const PIECE = 16 * 1024 * 1024;
  const OVERLAP = 4096;
  const memory = openSync(`/proc/${pid}/mem`, "r");
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
      const [, from = "0", to = "0"] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
      for (let at = parseInt(from, 16); at < parseInt(to, 16); at += PIECE) {
        const buffer = Buffer.alloc(Math.min(PIECE + OVERLAP, parseInt(to, 16) - at));
        yield buffer.subarray(0, readAt(memory, buffer, at));
      }
    }
  } finally {
    closeSync(memory);
  }
}

/** Some ranges are only reserved and cannot be read. */
function readAt(file: number, buffer: Buffer, position: number): number {
  try {
    return readSync(file, buffer, 0, buffer.length, position);
  } catch {
    return 0;
  }
}
