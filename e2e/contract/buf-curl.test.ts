import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import type { JsonObject } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { errorFromJson } from "@connectrpc/connect/protocol-connect";
import { afterAll, describe, expect, test } from "vitest";

import { buildContract, bufPath, projectRoot, rpcsOf } from "./descriptors.ts";
import { refusalOf } from "./protocols/answer.ts";
import { startContractSystem } from "./system.ts";

// The tool of people who call by hand.
const { image, services } = buildContract();
const system = await startContractSystem();
const folder = await mkdtemp(join(tmpdir(), "agentkeys-buf-"));
const imageFile = join(folder, "agentkeys.binpb");
await writeFile(imageFile, image);
afterAll(async () => {
  await system.close();
  await rm(folder, { recursive: true });
});

const run = promisify(execFile);

/** Runs `buf curl`; does not throw when the call is refused. */
async function bufCurl(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  try {
    return { status: 0, ...(await run(bufPath, ["curl", ...args], { cwd: projectRoot })) };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, stdout, stderr };
  }
}

const schemas = {
  "the proto folder": ["--schema", "proto"],
  "a descriptor set": ["--schema", imageFile],
  reflection: [],
};
/** Everything but the Connect protocol, and reflection, needs HTTP/2; without TLS somebody has to say so. */
const protocols = ["connect", "grpc", "grpcweb"];
const h2 = "--http2-prior-knowledge";

describe.each(Object.entries(schemas))("buf curl, knowing the services from %s", (_, schema) => {
  test.each(protocols)("calls over %s", async (protocol) => {
    const url = `${system.servers.broker}/agentkeys.broker.v1.LoginService/StartEmailLogin`;
    const body = JSON.stringify({ email: "ada@example.com", device_name: "a terminal" });
    const { status, stdout, stderr } = await bufCurl(...schema, "--protocol", protocol, h2, "-d", body, url);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ userCode: expect.stringMatching(/^[A-Z]{4}-[A-Z]{4}$/) as string });
  });

  test.each(protocols)("shows over %s why a call is refused", async (protocol) => {
    const url = `${system.servers.keys}/agentkeys.keys.v1.KeyService/DeriveAddress`;
    const refused = await bufCurl(...schema, "--protocol", protocol, h2, "-d", '{"omni_account":"me"}', url);
    expect(refused.status).toBe(8 * Code.InvalidArgument);
    const shown = JSON.parse(refused.stderr) as JsonObject;
    expect(shown).toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining("omni_account") as string,
    });
    const { code, reason } = refusalOf(errorFromJson(shown, undefined, new ConnectError("unreadable")));
    expect({ code, reason }).toEqual({ code: "invalid_argument", reason: "INVALID_OMNI_ACCOUNT" });
  });
});

describe("buf curl, by reflection alone", () => {
  test("lists the services of each server, with health and reflection", async () => {
    for (const [server, url] of Object.entries(system.servers)) {
      const { stdout } = await bufCurl(h2, "--list-services", url);
      const own = services.filter(({ typeName }) => typeName.startsWith(`agentkeys.${server}.`));
      const names = [
        ...own.map(({ typeName }) => typeName),
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
      ];
      expect(stdout.trim().split("\n").sort()).toEqual(names.sort());
    }
  });

  test("lists every RPC", async () => {
    const listed = await Promise.all(
      Object.values(system.servers).map(async (url) => (await bufCurl(h2, "--list-methods", url)).stdout),
    );
    const methods = listed.join("\n").split("\n");
    const expected = rpcsOf(services).map(({ parent, name }) => `${parent.typeName}/${name}`);
    expect(methods).toEqual(expect.arrayContaining(expected));
  });
});

test("buf curl presents a session that is not bound to a key as a bearer token", async () => {
  const token = await system.signInWithoutKey();
  const url = `${system.servers.broker}/agentkeys.broker.v1.AccountService/WhoAmI`;
  const { stdout, stderr } = await bufCurl("--schema", "proto", "-H", `authorization: Bearer ${token.reveal()}`, url);
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toMatchObject({ identity: { type: "IDENTITY_TYPE_EMAIL" } });
});
