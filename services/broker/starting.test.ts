import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { DAY } from "@agentkeys/lib/clock";
import { Secret } from "@agentkeys/lib/secret";

import type { BrokerSettings } from "./settings.ts";
import { type RunningBroker, startBroker } from "./start.ts";
import { silent } from "./testing/broker.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agentkeys-start-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const start = (changes: Partial<BrokerSettings> = {}): Promise<RunningBroker> =>
  startBroker(
    {
      listen: { host: "127.0.0.1", port: 0 },
      store: join(folder, "state", "broker.sqlite"),
      clientId: "agentkeys",
      mailFrom: "AgentKeys <agentkeys@localhost>",
      audiences: ["sts.amazonaws.com"],
      renewableMs: 30 * DAY,
      providers: [],
      dormantAfterMs: 180 * DAY,
      historyMs: 400 * DAY,
      trustedProxies: [],
      logLevel: "silent",
      ...changes,
    },
    { log: silent },
  );
const startAndStop = async (changes?: Partial<BrokerSettings>): Promise<string[]> => {
  const broker = await start(changes);
  const kids: string[] = [];
  for (const name of ["jwks.json", "agentkeys-session-jwks.json"]) {
    const { keys } = (await (await fetch(`${broker.url}/.well-known/${name}`)).json()) as { keys: { kid: string }[] };
    kids.push(...keys.map(({ kid }) => kid));
  }
  await broker.close();
  return kids;
};
/** Every byte that is in the store's files. */
const stored = (): string =>
  ["", "-wal"]
    .map((suffix) => join(folder, "state", `broker.sqlite${suffix}`))
    .filter((path) => existsSync(path))
    .map((path) => readFileSync(path, "latin1"))
    .join("");
const privateKeysInTheClear = (): number => stored().match(/"d":"/g)?.length ?? 0;
const key = (byte: number): Secret<Uint8Array> => new Secret(new Uint8Array(32).fill(byte));

describe("the signing keys", () => {
  test("are made at the first start, one for each purpose, and are the same ever after", async () => {
    const kids = await startAndStop();
    expect(new Set(kids).size).toBe(2);
    expect(await startAndStop()).toEqual(kids);
  });

  test("stand in the store encrypted from the first start under an encryption key, and without it nothing starts", async () => {
    const kids = await startAndStop({ keyEncryptionKey: key(1) });
    expect(privateKeysInTheClear()).toBe(0);
    await expect(start()).rejects.toThrow("AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY must be set");
    await expect(start({ keyEncryptionKey: key(2) })).rejects.toThrow(
      "AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY is not the key",
    );
    expect(await startAndStop({ keyEncryptionKey: key(1) })).toEqual(kids);
  });

  test("kept in the clear are encrypted once there is an encryption key, stay the same, and leave no trace", async () => {
    const kids = await startAndStop();
    expect(privateKeysInTheClear()).toBe(2);
    expect(await startAndStop({ keyEncryptionKey: key(1) })).toEqual(kids);
    expect(privateKeysInTheClear()).toBe(0);
    await expect(start()).rejects.toThrow("must be set");
  });
});

test("an address that is in use is an error, and the store is left closed and usable", async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as AddressInfo;
  await expect(start({ listen: { host: "127.0.0.1", port } })).rejects.toThrow("another program does already");
  await new Promise((resolve) => other.close(resolve));
  const broker = await start({ listen: { host: "127.0.0.1", port } });
  expect(broker.url).toBe(`http://127.0.0.1:${port}`);
  await broker.close();
});
